"""Modes: in place, in a wheel and its install, what ``git apply`` makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import RELEASE_1, ROOT, Git, call, make_executable, put_release, write_tree
from vllm_patchkit.operations.targets import apply
from vllm_patchkit.transaction.disk import Disk

SCRIPT = f"{ROOT}/run.sh"
FILES = {**RELEASE_1, SCRIPT: b"#!/bin/sh\n"}
PATHS = [*FILES, f"{ROOT}/new.sh", f"{ROOT}/moved.sh"]


def modes(folder: Path) -> dict[str, bool]:
    """Return which files of the package are executable."""
    return {
        path: bool((folder / path).stat().st_mode & 0o100)
        for path in PATHS
        if (folder / path).is_file()
    }


def make_origin(folder: Path) -> Git:
    """Return commits: 644 to 755, a new 755 file, 755 to 644 and a rename, a deletion."""
    git = Git.create(folder, FILES)
    make_executable(folder / SCRIPT)
    git.run("add", "--all")
    git.run("commit", "--quiet", "--amend", "-m", "base")
    git.run("tag", "--force", "base")
    make_executable(folder / ROOT / "engine.py")
    git.run("commit", "--quiet", "--all", "-m", "Only a mode")
    (folder / ROOT / "new.sh").write_bytes(b"#!/bin/sh\necho\n")
    make_executable(folder / ROOT / "new.sh")
    git.run("add", "--all")
    git.run("commit", "--quiet", "-m", "A new script")
    git.run("mv", SCRIPT, f"{ROOT}/moved.sh")
    git.run("commit", "--quiet", "--all", "-m", "Move it")
    (folder / ROOT / "moved.sh").chmod(0o644)
    (folder / ROOT / "moved.sh").write_bytes(b"#!/bin/sh\nexit\n")
    git.run("commit", "--quiet", "--all", "-m", "Execute it no more")
    git.run("rm", "--quiet", f"{ROOT}/new.sh")
    git.run("commit", "--quiet", "--all", "-m", "Drop the script")
    return git


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    put_release(home / "cache", "2.0", FILES, executable=(SCRIPT,))
    git = make_origin(home / "origin")
    (home / "x.mbox").write_bytes(git.mailbox())
    words = ("import", home / "x.mbox", "--base", "tiny-llm==2.0", "--name", "fork")
    said = call(capsys, *words)
    assert said.code == 0, said.err
    return home / "patches" / "fork"


@pytest.mark.parametrize("count", range(1, 6))
def test_in_place_is_as_git_apply_has_it(
    count: int, stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """apply gives the modes of ``git apply``, verify sees them, revert takes them back."""
    oracle = write_tree(home / "oracle", FILES)
    tree = write_tree(home / "tree", FILES)
    for folder in (oracle, tree):
        make_executable(folder / SCRIPT)
    before = modes(tree)
    patches = sorted(stack.glob("*.patch"))[:count]
    subprocess.run(["git", "apply", *patches], cwd=oracle, check=True)
    words = (tree, "--stack", stack)
    assert call(capsys, "verify", *words, "--expect", "pristine").code == 0
    said = call(capsys, "apply", *words, "--upto", f"{count:04d}")
    assert said.code == 0, said.err
    assert "nothing to do" not in said.out
    assert modes(tree) == modes(oracle)
    state = "applied" if count == 5 else "partial"
    assert call(capsys, "verify", *words, "--expect", state).code == 0
    engine = tree / ROOT / "engine.py"
    engine.chmod(0o644)
    said = call(capsys, "verify", *words, "--expect", state)
    assert said.code == 1 or f"the first {count} of 5" not in said.out
    engine.chmod(0o755)
    said = call(capsys, "revert", *words)
    assert said.code == 0, said.err
    assert modes(tree) == before
    assert call(capsys, "verify", *words, "--expect", "pristine").code == 0


def test_a_wheel_is_as_git_apply_has_it(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What pip installs of the patched wheel has git's modes, and verify agrees."""
    base = home / "cache/inputs/tiny_llm-2.0-py3-none-any.whl"
    said = call(capsys, "wheel", "--stack", stack, "--base", base, "--out", home / "dist")
    assert said.code == 0, said.err
    (wheel,) = (home / "dist").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", home / "site", wheel], check=True)
    git = Git(home / "origin")
    listed = git.run("ls-tree", "-r", "HEAD").decode().splitlines()
    expected = {line.split("\t")[1]: line.startswith("100755") for line in listed}
    found = modes(home / "site")
    assert found == {path: expected[path] for path in found}
    assert set(found) == {path for path in PATHS if path in expected}
    words = ("verify", wheel, "--stack", stack, "--expect", "applied")
    assert call(capsys, *words).code == 0


def test_killed_anywhere_the_modes_are_entirely_old_or_entirely_new(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first patch changes one mode and no byte; every step of its apply is killed once."""
    tree = write_tree(home / "tree", FILES)
    make_executable(tree / SCRIPT)
    before = modes(tree)
    words = (tree, "--stack", stack)
    killed = 0
    while True:
        child = os.fork()
        if child == 0:
            left = [killed]

            def fault(kind: str, path: Path, left: list[int] = left) -> None:
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1

            apply(tree, stack=stack, upto="0001", disk=Disk(fault=fault))
            os._exit(0)
        _, code = os.waitpid(child, 0)
        assert call(capsys, "revert", *words).code in (0, 1)
        assert modes(tree) == before
        assert call(capsys, "verify", *words, "--expect", "pristine").code == 0
        if os.WEXITSTATUS(code) == 0:
            break
        killed += 1
    assert killed > 5
