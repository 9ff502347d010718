"""new, diff, range-diff, matrix, bisect and export, against git."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    AUTHOR,
    DISTRIBUTION,
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    SAMPLER,
    Git,
    Said,
    Tree,
    call,
    changed,
    engine_line,
    make_stack,
    put_release,
    read_patches,
    write_tree,
)

STEP_1 = changed(RELEASE_1, ENGINE, engine_line(5), "FIVE = 5\n")
STEP_2 = changed(STEP_1, REQUEST, "def request_3(): return 3\n", "THREE = 3\n")
STEP_3 = changed(STEP_2, ENGINE, "FIVE = 5\n", "FIVE = 55\n")
STEP_4 = changed(STEP_3, ENGINE, engine_line(7), "SEVEN = 7\n")
STEP_5 = {**STEP_4, f"{ROOT}/v1/fresh.py": b"def brand_new(): return 1\n"}
STEP_6 = {**STEP_5, f"{ROOT}/v1/fresh.py": b"def brand_new(): return 2\n"}
STEPS = [
    ("[Core] One", STEP_1),
    ("[V1] Two", STEP_2),
    ("[Core] Three", STEP_3),
    ("[Core] Four", STEP_4),
    ("[V1] Five", STEP_5),
    ("[V1] Six", STEP_6),
]


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    return make_stack(capsys, home, STEPS)


def new(capsys: pytest.CaptureFixture[str], stack: Path, place: Path, *words: str) -> Said:
    return call(
        capsys, "new", stack, "--from", place, "-m", "[Core] New thing\n\nBecause.",
        "--author", AUTHOR, "--date", "Fri, 2 Jan 2026 03:04:05 +0530", *words,
    )  # fmt: skip


def test_new_takes_edits_additions_deletions_and_renames(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    after = dict(STEP_6)
    after[ENGINE] += b"LAST = 1\n"
    after[f"{ROOT}/v1/sampling.py"] = after.pop(SAMPLER)
    after[f"{ROOT}/deep/er/added.py"] = b"ADDED = 1\n"
    del after[f"{ROOT}/data/windows.txt"]
    noise = {f"{ROOT}/_C.abi3.so": b"\x7fELF", f"{ROOT}/__pycache__/x.cpython-311.pyc": b"pyc"}
    place = write_tree(home / "site", {**after, **noise})
    said = new(capsys, stack, place)
    assert said.code == 0, said.err
    assert "taken against the stack" in said.err
    names = list(read_patches(stack))
    assert names[-1] == "0007-Core-New-thing.patch"
    assert len(names) == 7
    oracle = Git.create(home / "oracle", RELEASE_1)
    for patch in read_patches(stack).values():
        oracle.run("am", "--quiet", "--keep-cr", data=patch)
    listed = oracle.run("ls-files", "-z").decode().split("\0")[:-1]
    assert {path: (oracle.folder / path).read_bytes() for path in listed} == after
    assert b"rename from tiny_llm/v1/sampler.py" in read_patches(stack)[names[-1]]
    assert oracle.run("log", "-1", "--format=%an|%aD|%s") == (
        b"Ada Lovelace|Fri, 2 Jan 2026 03:04:05 +0530|New thing\n"
    )


def test_new_from_the_bare_release_is_moved_onto_the_stack(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write_tree(home / "site", {**RELEASE_1, ENGINE: RELEASE_1[ENGINE] + b"LAST = 1\n"})
    said = new(capsys, stack, place)
    assert said.code == 0, said.err
    assert "taken against the base" in said.err
    changes = [
        line for line in (stack / "0007-Core-New-thing.patch").read_text().splitlines()
        if line.startswith(("+", "-")) and not line.startswith(("+++", "---"))
    ]  # fmt: skip
    assert changes == ["+LAST = 1"]


def test_new_that_collides_with_the_stack_is_refused(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = changed(RELEASE_1, ENGINE, engine_line(5), "OTHER = 5\n")
    said = new(capsys, stack, write_tree(home / "site", tree))
    assert said.code == 1
    assert f"collide with the stack at {ENGINE}:6" in said.err


@pytest.mark.parametrize(
    ("tree", "message"), [(STEP_6, "nothing to make a patch of"), ({}, "has no folder")]
)
def test_new_without_changes_is_refused(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str], tree: Tree, message: str
) -> None:
    (home / "site").mkdir()
    said = new(capsys, stack, write_tree(home / "site", tree))
    assert (said.code, message in said.err) == (1, True)


@pytest.mark.parametrize("owner", ["own", "somebody"])
def test_new_from_a_checkout_leaves_ignored_files_out(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str], owner: str
) -> None:
    """Also from one that another user owns, in which git lists nothing unless told to."""
    git = Git.create(home / "checkout", {**STEP_6, ".gitignore": b"ignored.py\n"})
    write_tree(git.folder, {f"{ROOT}/ignored.py": b"I = 1\n", f"{ROOT}/wanted.py": b"W = 1\n"})
    if owner == "somebody":
        if os.getuid():
            pytest.skip("only root can give a folder away")
        os.chown(git.folder, 12345, 12345)
    assert new(capsys, stack, git.folder).code == 0
    text = (stack / "0007-Core-New-thing.patch").read_text()
    assert "wanted.py" in text
    assert "ignored.py" not in text


def test_diff_is_what_git_applies_to_the_same_end(stack: Path, home: Path) -> None:
    argv = [sys.executable, "-m", "vllm_patchkit", "diff", str(stack)]
    diff = subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout
    oracle = Git.create(home / "oracle", RELEASE_1)
    oracle.run("apply", "-", data=diff)
    for path, data in STEP_6.items():
        assert (oracle.folder / path).read_bytes() == data


def test_diff_of_one_patch(stack: Path) -> None:
    argv = [sys.executable, "-m", "vllm_patchkit", "diff", str(stack), "--patch", "3"]
    diff = subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout
    assert b"-FIVE = 5\n+FIVE = 55\n" in diff
    assert diff.count(b"\n@@ ") == 1


def test_range_diff_names_the_patch_that_changed(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git = Git(Path(call(capsys, "edit", stack).out.strip()))
    git.run("commit", "--quiet", "--amend", "-m", "[V1] Six, reworded")
    assert call(capsys, "refresh", stack).code == 0
    lines = call(capsys, "range-diff", stack, "--summary").out.splitlines()
    assert [line.split()[2] for line in lines] == ["="] * 5 + ["!"]


def test_range_diff_against_a_revision(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git = Git(home / "patches")
    git.run("init", "--quiet")
    git.run("add", "--all")
    git.run("commit", "--quiet", "-m", "one")
    work = Git(Path(call(capsys, "edit", stack).out.strip()))
    work.run("reset", "--quiet", "--hard", "HEAD^")
    assert call(capsys, "refresh", stack).code == 0
    lines = call(capsys, "range-diff", stack, "--rev", "HEAD", "--summary").out.splitlines()
    assert [line.split()[2] for line in lines] == ["="] * 5 + ["<"]
    wrong = call(capsys, "range-diff", stack, "--rev", "nowhere")
    assert (wrong.code, "no version at nowhere" in wrong.err) == (2, True)


def test_matrix_knows_lines_order_and_need(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(call(capsys, "matrix", stack, "--json").out)
    found = {
        (item["first"][:4], item["second"][:4]): (item["relation"], item["commutes"])
        for item in document["overlaps"]
    }
    assert found == {
        ("0001", "0003"): ("same lines", False),
        # Three rewrote the line of One that Four is near to.
        ("0001", "0004"): ("same file", True),
        ("0003", "0004"): ("near", True),
        ("0005", "0006"): ("needs", False),
    }
    needed = {name[:4]: by[:4] for name, by in document["needed_by"].items()}
    assert needed == {"0001": "0003", "0005": "0006"}


def test_commuting_patches_give_the_same_tree_in_either_order(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every pair of neighbours that is said to commute is swapped with git, and vice versa."""
    document = json.loads(call(capsys, "matrix", stack, "--json").out)
    fixed = {
        (item["first"], item["second"]) for item in document["overlaps"] if not item["commutes"]
    }
    git = Git(Path(call(capsys, "edit", stack).out.strip()))
    names = list(read_patches(stack))
    for index in range(len(names) - 1):
        first, second = (
            f"refs/patchkit/start~{len(names) - 1 - place}" for place in (index, index + 1)
        )
        git.run("checkout", "--quiet", "--force", "--detach", f"{first}^")
        for commit in (second, first):
            git.run("cherry-pick", commit, check=False)
        same = git.run("rev-parse", "HEAD^{tree}") == git.run("rev-parse", f"{second}^{{tree}}")
        git.run("cherry-pick", "--abort", check=False)
        assert same == ((names[index], names[index + 1]) not in fixed)


def test_matrix_of_two_stacks(stack: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = changed(RELEASE_1, ENGINE, engine_line(9), "NINE = 9\n")
    tree = changed(tree, REQUEST, "def request_3(): return 3\n", "T = 3\n")
    other = make_stack(capsys, home / "second", [("Other", tree)], name="other")
    document = json.loads(call(capsys, "matrix", stack, "--with", other, "--json").out)
    found = {(item["first"][:4], item["path"]): item["relation"] for item in document["overlaps"]}
    assert found == {
        ("0001", ENGINE): "same file",
        ("0002", REQUEST): "same lines",
        ("0003", ENGINE): "same file",
        ("0004", ENGINE): "near",
    }


def bisect(capsys: pytest.CaptureFixture[str], stack: Path, script: str) -> Said:
    return call(capsys, "bisect", stack, "--", sys.executable, "-c", script)


@pytest.mark.parametrize(
    ("script", "culprit"),
    [
        ("import tiny_llm.engine as e; assert getattr(e, 'FIVE', 0) != 55", "0003"),
        ("import tiny_llm.engine as e; assert not hasattr(e, 'SEVEN')", "0004"),
        ("import tiny_llm.engine as e; assert hasattr(e, 'engine_5')", "0001"),
        ("import tiny_llm.v1.fresh as f; assert f.brand_new() == 1", None),
    ],
)
def test_bisect_names_the_patch(
    stack: Path, capsys: pytest.CaptureFixture[str], script: str, culprit: str | None
) -> None:
    said = bisect(capsys, stack, script)
    if culprit is None:
        assert (said.code, "the command fails on the bare release already" in said.err) == (1, True)
    else:
        assert (said.code, said.out[:4]) == (0, culprit), said.err


def test_bisect_with_skipped_trees_lists_the_suspects(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        "import sys, tiny_llm.engine as e\n"
        "if hasattr(e, 'FIVE') and not hasattr(e, 'SEVEN'): sys.exit(125)\n"
        "assert not hasattr(e, 'SEVEN')\n"
    )
    said = bisect(capsys, stack, script)
    assert said.code == 1
    assert {line[:4] for line in said.out.splitlines()} == {"0001", "0002", "0003", "0004"}


def test_bisect_takes_options_after_the_stack(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(capsys, "bisect", stack, "--libraries", "nosuch", "--", "true")
    assert (said.code, "there is no nosuch" in said.err) == (2, True)


def test_bisect_of_a_good_command_says_so(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = bisect(capsys, stack, "pass")
    assert (said.code, "there is nothing to find" in said.err) == (2, True)


def test_bisect_links_compiled_files(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(home / "site", {f"{ROOT}/_C.abi3.so": b"\x7fELF"})
    script = (
        "import pathlib, tiny_llm.engine as e\n"
        "assert (pathlib.Path(e.__file__).parent / '_C.abi3.so').read_bytes() == b'\\x7fELF'\n"
        "assert not hasattr(e, 'SEVEN')\n"
    )
    said = call(capsys, "bisect", "--libraries", home / "site", stack, "--",
                sys.executable, "-c", script)  # fmt: skip
    assert (said.code, said.out[:4]) == (0, "0004"), said.err


def test_mailbox_is_taken_by_git_am(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(capsys, "export", stack, "--upto", "0004", "-o", home / "x.mbox")
    assert said.code == 0, said.err
    oracle = Git.create(home / "oracle", {**RELEASE_1, "setup.py": b""})
    oracle.run("am", "--quiet", "--keep-non-patch", "--keep-cr", home / "x.mbox")
    assert oracle.run("log", "--reverse", "--format=%s", "base..").decode().splitlines() == [
        "[Core] One", "[V1] Two", "[Core] Three", "[Core] Four",
    ]  # fmt: skip
    for path, data in STEP_4.items():
        assert (oracle.folder / path).read_bytes() == data


def test_only_some_patches_stand_alone(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--only", "2", "--only", "0004", "--upstream", "-o", home / "x.mbox")
    said = call(capsys, "export", stack, *words)
    assert said.code == 0, said.err
    text = (home / "x.mbox").read_text()
    assert "Origin:" not in text
    oracle = Git.create(home / "oracle", RELEASE_1)
    oracle.run("am", "--quiet", home / "x.mbox")
    data = changed(RELEASE_1, ENGINE, engine_line(7), "SEVEN = 7\n")[ENGINE]
    assert (oracle.folder / ENGINE).read_bytes() == data
    said = call(capsys, "export", stack, "--only", "3")
    assert said.code == 1
    assert f"does not apply without the patches left out: {ENGINE}:6" in said.err


def test_bundle_is_cloned(stack: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "export", stack, "--bundle", "-o", home / "x.bundle").code == 0
    Git(home).run("clone", "--quiet", "--branch", "fork", home / "x.bundle", home / "clone")
    for path, data in STEP_6.items():
        assert (home / "clone" / path).read_bytes() == data


def test_branch_is_added_beside_the_work_tree(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git = Git.create(home / "checkout", {**RELEASE_1, "setup.py": b"S = 1\n"})
    git.run("tag", "v1.0")
    (git.folder / ENGINE).write_bytes(b"dirty\n")
    words = ("--checkout", git.folder, "--onto", "v1.0", "--branch", "upstreaming")
    said = call(capsys, "export", stack, *words)
    assert said.code == 0, said.err
    assert git.run("merge-base", "v1.0", "upstreaming") == git.run("rev-parse", "v1.0")
    changes = git.run("diff", "--name-only", "v1.0", "upstreaming").decode().split()
    assert changes == [ENGINE, f"{ROOT}/v1/fresh.py", REQUEST]
    assert (git.folder / ENGINE).read_bytes() == b"dirty\n"
    assert git.run("symbolic-ref", "HEAD") == b"refs/heads/main\n"
    again = call(capsys, "export", stack, *words)
    assert (again.code, "has a branch upstreaming already" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "--upto", "77"], "has no patch '77'"),
        (["export", "--bundle"], "--bundle needs --output"),
        (["export", "--onto", "v1"], "need --checkout"),
        (["diff", "--patch", "9"], "has no patch '9'"),
        (["edit", "--close"], "is not open in a work tree"),
        (["range-diff", "--rev", "x"], "no version at x"),
    ],
)
def test_mistakes_are_usage_errors(
    stack: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    said = call(capsys, words[0], stack, *words[1:])
    assert said.code == 2
    assert message in said.err


def test_imported_stack_builds_a_wheel(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = home / "cache" / "inputs" / f"{ROOT}-1.0-py3-none-any.whl"
    said = call(capsys, "wheel", "--stack", stack, "--base", wheel, "--out", home / "dist")
    assert said.code == 0, said.err
    (built,) = (home / "dist").glob("*.whl")
    assert built.name.startswith(f"{DISTRIBUTION.replace('-', '_')}-1.0+fork.1")


def test_upstream_s_eye_on_every_patch(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One is merged in 2.0, one stays needed, one loses its file in 3.0, one is half merged."""
    request, sampler = REQUEST, SAMPLER
    one = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'five'\n")
    two = changed(one, request, "def request_3(): return 3\n", "def request_3(): return 33\n")
    three = changed(two, sampler, "def sampler_9(): return 9\n", "def sampler_9(): return 99\n")
    four = changed(three, ENGINE, engine_line(20), "def engine_20(): return 'twenty'\n")
    four = changed(four, ENGINE, engine_line(50), "def engine_50(): return 'fifty'\n")
    stack = make_stack(capsys, home, [("One", one), ("Two", two), ("Three", three), ("Four", four)])
    release_2 = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'five'\n")
    release_2 = changed(release_2, ENGINE, engine_line(50), "def engine_50(): return 'fifty'\n")
    release_3 = {path: data for path, data in release_2.items() if path != sampler}
    put_release(home / "cache", "2.0", release_2)
    put_release(home / "cache", "3.0", release_3)
    said = call(capsys, "export", stack, "--check-upstream", "3.0", "--check-upstream", "2.0")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "| patch | 2.0 | 3.0 | so since | conflicts in 3.0 |",
        "| --- | --- | --- | --- | --- |",
        "| 0001 One | merged | merged | 2.0 |  |",
        "| 0002 Two | needed | needed | 2.0 |  |",
        "| 0003 Three | needed | superseded | 3.0 | 1 |",
        "| 0004 Four | partly | partly | 2.0 |  |",
        "",
        "In 3.0: 1 needed, 1 partly, 1 merged, 1 superseded.",
    ]
