"""split and import --split of changes that are awkward to take apart."""

from __future__ import annotations

import shutil
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
    Tree,
    call,
    make_executable,
    make_stack,
    put_release,
    read_patches,
)

WAYS = ["file", "folder", "subsystem"]
SPACED, CRLF, LATIN = (f"{ROOT}/data/{name}" for name in ("a name.py", "windows.txt", "latin.py"))


def lines_changed(data: bytes, *numbers: int) -> bytes:
    lines = data.splitlines(keepends=True)
    for number in numbers:
        lines[number] = lines[number].replace(b"(", b"_new(").replace(b"line", b"changed")
    return b"".join(lines)


def odd_tree() -> dict[str, bytes]:
    """Every kind of change at once: hunks that touch, no last newline, CRLF, renames, a swap."""
    tree = dict(RELEASE_1)
    # Seven lines apart is the nearest at which git makes two hunks; their context touches.
    tree[ENGINE] = lines_changed(tree[ENGINE], 0, 7, 14, 30, 59).rstrip(b"\n")
    tree[CRLF] = lines_changed(tree[CRLF], 2, 15)
    tree[LATIN] = tree[LATIN] + b"MORE = 'caf\xe9'"
    tree[f"{ROOT}/v1/moved.py"] = lines_changed(tree.pop(REQUEST), 3, 30)
    tree[SAMPLER], tree[SPACED] = tree[SPACED], tree[SAMPLER]
    tree[f"{ROOT}/new/empty.py"] = b""
    tree[f"{ROOT}/new/no_newline.py"] = b"N = 1"
    del tree[f"{ROOT}/v1/__init__.py"]
    return tree


def tree_of(git: Git, commit: str = "HEAD") -> bytes:
    return git.run("rev-parse", f"{commit}^{{tree}}")


def origin(home: Path, tree: Tree, *, mode: str = "") -> Git:
    git = Git.create(home / "from", RELEASE_1)
    git.commit(tree, "Everything")
    if mode:
        make_executable(git.folder / mode)
        git.run("commit", "--quiet", "--all", "--amend", "--no-edit")
    (home / "whole.mbox").write_bytes(git.run("format-patch", "--stdout", "base..HEAD"))
    (home / "whole.diff").write_bytes(git.run("diff", "--no-renames", "base", "HEAD"))
    return git


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["whole.mbox", "whole.diff"])
def test_import_takes_every_kind_of_change_apart(
    home: Path, capsys: pytest.CaptureFixture[str], way: str, source: str
) -> None:
    git = origin(home, odd_tree(), mode=LATIN)
    made = []
    for name in ("one", "two"):
        said = call(capsys, "import", home / source, "--base", "tiny-llm==1.0", "--name", name,
                    "--split", way)  # fmt: skip
        assert said.code == 0, said.err
        made.append(read_patches(home / "patches" / name))
    assert made[0] == made[1]
    assert len(made[0]) > 3
    assert call(capsys, "edit", "one", "--dir", home / "wt").code == 0
    assert tree_of(Git(home / "wt")) == tree_of(git)
    assert call(capsys, "refresh", "one", "--check").code == 0


@pytest.mark.parametrize("way", [*WAYS, "hunk"])
def test_a_work_tree_takes_every_kind_of_change_apart(
    home: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    git = origin(home, odd_tree(), mode=LATIN)
    said = call(capsys, "import", home / "whole.mbox", "--base", "tiny-llm==1.0", "--name", "one")
    assert said.code == 0, said.err
    assert call(capsys, "edit", "one", "--dir", home / "wt").code == 0
    said = call(capsys, "split", "one", "--patch", "0001", "--by", way)
    assert said.code == 0, said.err
    assert tree_of(Git(home / "wt")) == tree_of(git)
    assert Git(home / "wt").run("status", "--porcelain") == b""
    said = call(capsys, "refresh", "one")
    assert said.code == 0, said.err
    assert len(read_patches(home / "patches" / "one")) > 3
    tree = home / "tree"
    Git.create(tree, RELEASE_1)
    assert call(capsys, "verify", tree, "--stack", home / "patches" / "one").code == 0


@pytest.mark.parametrize("way", [*WAYS, "hunk"])
def test_a_file_that_becomes_a_folder(
    home: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    """Whatever comes first, the old file goes before something lies below its name."""
    release = {
        **RELEASE_1,
        f"{ROOT}/v1/plug": b"P = 1\n",
        f"{ROOT}/zz/deep/__init__.py": b"Z = 1\n",
    }
    put_release(home / "cache", "1.1", release)
    tree = {**release, f"{ROOT}/v1/plug/inner/a.py": b"A = 1\n", f"{ROOT}/v1/plug/b.py": b"B = 1\n"}
    del tree[f"{ROOT}/v1/plug"]
    del tree[f"{ROOT}/zz/deep/__init__.py"]
    tree[f"{ROOT}/zz/deep"] = b"now a file\n"
    git = Git.create(home / "from", release)
    shutil.rmtree(git.folder / ROOT)
    git.commit(tree, "Everything")
    (home / "whole.mbox").write_bytes(git.run("format-patch", "--stdout", "base..HEAD"))
    words = ("import", home / "whole.mbox", "--base", "tiny-llm==1.1", "--name", "one")
    said = call(capsys, *words, *(["--split", way] if way != "hunk" else []))
    assert said.code == 0, said.err
    assert call(capsys, "edit", "one", "--dir", home / "wt").code == 0
    assert tree_of(Git(home / "wt")) == tree_of(git)
    if way == "hunk":
        said = call(capsys, "split", "one", "--patch", "0001", "--by", way)
        assert said.code == 0, said.err
        assert tree_of(Git(home / "wt")) == tree_of(git)
        assert call(capsys, "refresh", "one").code == 0
    assert call(capsys, "refresh", "one", "--check").code == 0


def test_a_change_of_five_hundred_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = {**RELEASE_1, **{f"{ROOT}/many/m{n}.py": b"N = %d\n" % n for n in range(500)}}
    git = origin(home, tree)
    words = ("--base", "tiny-llm==1.0", "--name", "one", "--split", "file")
    said = call(capsys, "import", home / "whole.diff", *words)
    assert said.code == 0, said.err
    assert len(read_patches(home / "patches" / "one")) == 500
    assert call(capsys, "edit", "one", "--dir", home / "wt").code == 0
    assert tree_of(Git(home / "wt")) == tree_of(git)


def test_a_binary_change_is_refused_whole(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = {**odd_tree(), f"{ROOT}/data/blob.bin": bytes(range(256))}
    git = Git.create(home / "from", RELEASE_1)
    git.commit(tree, "Everything")
    (home / "whole.mbox").write_bytes(git.run("format-patch", "--stdout", "base..HEAD"))
    said = call(capsys, "import", home / "whole.mbox", "--base", "tiny-llm==1.0", "--name", "one",
                "--split", "file")  # fmt: skip
    assert (said.code, "blob.bin" in said.err) == (1, True), said.err
    assert not (home / "patches").exists()
    make_stack(capsys, home, [("Odd", odd_tree())])
    assert call(capsys, "edit", home / "patches" / "fork", "--dir", home / "wt").code == 0
    (home / "wt" / ROOT / "blob.bin").write_bytes(bytes(range(256)))
    work = Git(home / "wt")
    work.run("add", ".")
    work.run("commit", "--quiet", "--amend", "--no-edit")
    said = call(capsys, "split", home / "patches" / "fork", "--patch", "0001", "--by", "hunk")
    assert "Traceback" not in said.err
    said = call(capsys, "refresh", home / "patches" / "fork")
    assert (said.code, "blob.bin" in said.err) == (1, True), said.err
