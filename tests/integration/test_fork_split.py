"""split: one change taken apart; after the last piece every file is as the whole left it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    SAMPLER,
    Git,
    call,
    changed,
    engine_line,
    make_stack,
    read_patches,
)
from vllm_patchkit.stack.read import read_stack

WHOLE = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'five'\n")
WHOLE = changed(WHOLE, ENGINE, engine_line(50), "def engine_50(): return 'fifty'\n")
WHOLE = changed(WHOLE, REQUEST, "def request_3(): return 3\n", "def request_3(): return 33\n")
WHOLE = changed(WHOLE, SAMPLER, "def sampler_9(): return 9\n", "def sampler_9(): return 99\n")
WHOLE = {**WHOLE, f"{ROOT}/v1/fresh/__init__.py": b"FRESH = 1\n"}
LAST = {**WHOLE, f"{ROOT}/last.py": b"LAST = 1\n"}


def tree_of(git: Git, commit: str = "HEAD") -> bytes:
    return git.run("rev-parse", f"{commit}^{{tree}}")


@pytest.fixture
def diff(home: Path) -> Path:
    git = Git.create(home / "from", RELEASE_1)
    git.commit(WHOLE, "Everything")
    place = home / "whole.diff"
    place.write_bytes(git.run("diff", "base", "HEAD"))
    return place


@pytest.mark.parametrize(
    ("way", "pieces"),
    [
        ("file", ["engine.py", "v1/fresh/__init__.py", "v1/request.py", "v1/sampler.py"]),
        ("folder", [ROOT, "v1", "v1/fresh"]),
        ("subsystem", ["fresh", ROOT, "v1"]),
    ],
)
def test_import_splits_one_diff_always_the_same_way(
    home: Path, diff: Path, capsys: pytest.CaptureFixture[str], way: str, pieces: list[str]
) -> None:
    made = []
    for name in ("one", "two"):
        said = call(capsys, "import", diff, "--base", "tiny-llm==1.0", "--name", name,
                    "--split", way)  # fmt: skip
        assert said.code == 0, said.err
        made.append(read_patches(home / "patches" / name))
    assert made[0] == made[1]
    stack = read_stack(home / "patches" / "one")
    assert [patch.message.subject.partition("(")[2][:-1] for patch in stack.patches] == pieces
    named = {patch.message.trailer("Subsystem") for patch in stack.patches}
    assert set(stack.subsystems) == named
    assert (len(named) > 1) == (way == "subsystem")
    call(capsys, "edit", "one", "--dir", home / "wt")
    whole = Git(home / "from")
    assert tree_of(Git(home / "wt")) == tree_of(whole)


@pytest.mark.parametrize(("way", "count"), [("file", 4), ("folder", 3), ("hunk", 5)])
def test_a_patch_of_a_work_tree_is_split_in_its_place(
    home: Path, capsys: pytest.CaptureFixture[str], way: str, count: int
) -> None:
    stack = make_stack(capsys, home, [("Everything\n\nWhy.\n", WHOLE), ("Last", LAST)])
    call(capsys, "edit", stack, "--dir", home / "wt")
    git = Git(home / "wt")
    before = tree_of(git)
    said = call(capsys, "split", stack, "--patch", "0001", "--by", way)
    assert said.code == 0, said.err
    assert len(said.out.splitlines()) == count
    assert tree_of(git) == before
    assert git.run("status", "--porcelain") == b""
    assert call(capsys, "refresh", stack).code == 0
    patches = read_stack(stack).patches
    assert len(patches) == count + 1
    assert patches[-1].message.subject == "Last"
    assert all(patch.message.body.startswith("Why.") for patch in patches[:-1])
    assert all(len(patch.files) == 1 for patch in patches[:-1]) == (way != "folder")


def test_what_cannot_be_split_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = make_stack(capsys, home, [("Everything", WHOLE), ("Last", LAST)])
    said = call(capsys, "split", stack)
    assert (said.code, "is not open in a work tree" in said.err) == (2, True)
    call(capsys, "edit", stack, "--dir", home / "wt")
    for words, code, told in [
        (["--patch", "0009"], 2, "the work tree has no patch 0009"),
        (["--patch", "x"], 2, "expected the number of a patch"),
        (["--patch", "0002"], 1, "patch 0002 is one piece by file"),
    ]:
        said = call(capsys, "split", stack, *words)
        assert (said.code, told in said.err) == (code, True), said.err
    (home / "wt" / ENGINE).write_text("dirty\n")
    said = call(capsys, "split", stack)
    assert (said.code, "uncommitted changes" in said.err) == (1, True)
