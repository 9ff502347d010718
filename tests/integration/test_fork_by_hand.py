"""Patch files edited by hand: what refresh takes, what it refuses, what is advised."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    ENGINE,
    RELEASE_1,
    REQUEST,
    Git,
    call,
    changed,
    engine_line,
    make_stack,
    read_patches,
)
from vllm_patchkit.fork.folder import read_folder
from vllm_patchkit.stack.finding import Code

ONE = changed(RELEASE_1, ENGINE, engine_line(5), engine_line(5) + "A = 1\n")
ONE = changed(ONE, ENGINE, engine_line(40), engine_line(40) + "FAR = 1\n")
TWO = changed(ONE, REQUEST, "def request_3(): return 3\n", "B = 2\n")
STEPS = [("[Core] Add A\n\nBecause.", ONE), ("[V1] Put B\n\nBecause.", TWO)]
FIRST, SECOND = "0001-Core-Add-A.patch", "0002-V1-Put-B.patch"


def edit(name: str, pattern: str, new: str) -> Callable[[Path], None]:
    """Return an edit of one place of one patch file; the place must be there."""

    def apply(folder: Path) -> None:
        text, count = re.subn(pattern, new, (folder / name).read_text(), count=1, flags=re.M)
        assert count == 1
        (folder / name).write_text(text)

    return apply


def renumber(folder: Path) -> None:
    (folder / SECOND).rename(folder / "0007-V1-Put-B.patch")
    (folder / "series").write_text(f"{FIRST}\n0007-V1-Put-B.patch\n")


def add_lines(folder: Path) -> None:
    """One line more in the first hunk, which its header counts; the second lands elsewhere."""
    edit(FIRST, r"^\+A = 1$", "+A = 1\n+AA = 1")(folder)
    edit(FIRST, r"^@@ -(\d+),6 \+\1,7 @@", r"@@ -\1,6 +\1,8 @@")(folder)


def keep_line(folder: Path) -> None:
    edit(SECOND, r"^-(def request_3.*)$", r" \1")(folder)
    edit(SECOND, r"^@@ -(\d+),7 \+\1,7 @@", r"@@ -\1,7 +\1,8 @@")(folder)


# What a hand does, and what lint says of it.
TAKEN = {
    "an added line": (edit(FIRST, r"^\+A = 1$", "+A = 11"), Code.DOES_NOT_APPLY),
    "a line more, counted": (add_lines, Code.DOES_NOT_APPLY),
    "a removed line kept": (keep_line, Code.DOES_NOT_APPLY),
    "the subject": (edit(SECOND, r"^Subject: \[V1\] Put B$", "Subject: [V1] Put BB"), Code.NAME),
    "the number": (renumber, Code.SERIES_NUMBERING),
    "no index line": (edit(FIRST, r"^index .*\n", ""), Code.BLOB_IDS_MISSING),
    "abbreviated ids": (
        edit(FIRST, r"^index (.{7}).*\.\.(.{7})\S*", r"index \1..\2"),
        Code.BLOB_IDS_MISSING,
    ),
    "a signature": (edit(FIRST, r"\Z", "-- \n2.39.5\n"), Code.NOT_CANONICAL),
}
REFUSED = {
    "a context line": edit(FIRST, r"^ (def engine_4)\(", r" \1X("),
    "a line more, not counted": edit(FIRST, r"^\+A = 1$", "+A = 1\n+AA = 1"),
    "a sign lost": edit(FIRST, r"^\+A = 1$", "A = 1"),
    "a removed line": edit(SECOND, r"^-def request_3", "-def request_33"),
}


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    return make_stack(capsys, home, STEPS)


def tree_after(git: Git, patches: dict[str, bytes]) -> bytes:
    """Return the listing of the tree that git makes of patches; it passes over blob ids."""
    git.run("reset", "--hard", "--quiet", "base")
    for data in patches.values():
        git.run("apply", "--index", data=data)
    return git.run("ls-files", "--stage")


@pytest.mark.parametrize("name", TAKEN)
def test_refresh_takes_what_git_takes(
    name: str, stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hunks count: git makes the same tree of the file as it was edited, and as refreshed."""
    by_hand, code = TAKEN[name]
    by_hand(stack)
    git = Git(home / "origin")
    expected = tree_after(git, read_patches(stack))
    said = call(capsys, "lint", stack)
    assert said.code == 1
    assert code.value in said.out
    assert code.remedy in said.out
    assert "vllm-patchkit refresh" in code.remedy

    assert call(capsys, "refresh", stack, "--check").code == 1
    assert call(capsys, "refresh", stack).code == 0
    assert tree_after(git, read_patches(stack)) == expected
    assert code.value not in call(capsys, "lint", stack).out
    assert call(capsys, "refresh", stack, "--check").code == 0
    assert call(capsys, "undo", stack).code == 0


def test_later_patches_of_an_edited_file_follow(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their index lines name blobs that no longer are; their hunks still match at their lines."""
    three = changed(TWO, ENGINE, engine_line(50), "C = 3\n")
    stack = make_stack(capsys, home, [*STEPS, ("[Core] Put C\n\nBecause.", three)])
    edit(FIRST, r"^\+A = 1$", "+A = 11")(stack)
    git = Git(home / "origin")
    expected = tree_after(git, read_patches(stack))
    said = call(capsys, "refresh", stack)
    assert said.code == 0, said.err
    assert tree_after(git, read_patches(stack)) == expected
    assert "A401" not in call(capsys, "lint", stack).out


def test_every_remedy_that_names_refresh_was_tried() -> None:
    named = {code for code in Code if "vllm-patchkit refresh" in code.remedy}
    assert named == {code for _, code in TAKEN.values()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_reader_could_take_changes_nothing(
    name: str, stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither does git apply; and nobody is sent in a circle."""
    REFUSED[name](stack)
    before = read_folder(stack)
    git = Git(home / "origin")
    git.run("reset", "--hard", "--quiet", "base")
    with pytest.raises(AssertionError, match=r"patch failed|corrupt patch|No such file"):
        tree_after(git, read_patches(stack))
    for words in (("refresh",), ("lock",), ("edit",), ("refresh", "--check")):
        said = call(capsys, words[0], stack, *words[1:])
        assert said.code in (1, 2)
        assert "hint: " in said.err
        assert "vllm-patchkit refresh" not in said.err
    assert read_folder(stack) == before
