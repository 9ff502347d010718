"""What goes in comes out: hostile messages, modes and dialects through import, refresh and export.

The rule: after ``git am`` of what was exported, every tree and every message is that of the
commit which was imported; of a message's lines some are quoted, none is lost, none became code.
"""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.forks import RELEASE_1, Git, call, put_release
from support.messages import make_message, strip_space, unquoted

BATCH = 20
# By hand, the figures of docs/verification.md: PATCHKIT_MESSAGES=2000.
COUNT = int(os.environ.get("PATCHKIT_MESSAGES", "60"))
DIALECTS = (
    (), ("--full-index",), ("--no-stat", "--full-index"), ("--keep-subject",), ("--numbered",),
    ("-U5",), ("--no-renames",), ("--minimal", "--no-signature"), ("--from=Eve <eve@x.org>",),
)  # fmt: skip
EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def change_tree(rng: random.Random, folder: Path, number: int) -> None:
    """Change something of every kind that a patch can say."""
    files = sorted(path for path in (folder / "tiny_llm").rglob("*") if path.is_file())
    file = rng.choice(files)
    kind = rng.randrange(8)
    if kind == 0 and len(files) > 6:
        file.unlink()
    elif kind == 1 and file.stat().st_size > 200:
        file.rename(file.with_name(f"moved {number}.py"))
    elif kind == 2:
        file.chmod(file.stat().st_mode ^ EXECUTABLE)
    elif kind == 3:
        script = folder / "tiny_llm" / f"script_{number}.sh"
        script.write_bytes(b"#!/bin/sh\n")
        script.chmod(0o755)
    elif kind == 4:
        (folder / "tiny_llm" / f"new_{number}.py").write_bytes(rng.choice([b"", b"X = 1", b"Y\n"]))
    else:
        lines = file.read_bytes().splitlines(keepends=True) or [b""]
        place = rng.randrange(len(lines))
        lines[place] = lines[place][:-1] + b"  # %d\r\n" % number
        file.write_bytes(b"".join(lines))
    (folder / "tiny_llm" / "__init__.py").write_bytes(b"VERSION = %d\n" % number)


def make_origin(rng: random.Random, folder: Path) -> Git:
    git = Git.create(folder, RELEASE_1)
    for number in range(BATCH):
        change_tree(rng, folder, number)
        git.run("add", "--all", "--force")
        message = make_message(rng).encode()
        git.run("commit", "--quiet", "--cleanup=verbatim", "--file=-", data=message)
    return git


def history(git: Git, since: str) -> Iterator[tuple[str, str]]:
    """Yield tree and message of every commit, oldest first."""
    listed = git.run("log", "--reverse", "-z", "--format=%T%n%B", f"{since}..HEAD").decode()
    for record in filter(None, listed.split("\0")):
        tree, _, message = record.partition("\n")
        yield tree, message


def carried_by_mail(git: Git, folder: Path, message: str) -> str:
    """Return the subject that ``git am --keep-non-patch`` makes of a subject alone."""
    subject = message.split("\n\n")[0]
    tree = git.run("rev-parse", "HEAD^{tree}").decode().strip()
    commit = git.run("commit-tree", tree, "-p", "base", data=subject.encode()).decode().strip()
    mail = git.run("format-patch", "--stdout", "--keep-subject", "-1", commit)
    argv = ["git", "mailinfo", "-b", folder / "m", folder / "p"]
    said = subprocess.run(argv, input=mail, capture_output=True, check=True).stdout.decode()
    return next(
        line.removeprefix("Subject: ") for line in said.split("\n") if line.startswith("Subject:")
    )


@pytest.mark.parametrize("seed", range(-(-COUNT // BATCH)))
def test_what_goes_in_comes_out(
    seed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Import, refresh, export, ``git am``: the trees and the messages of the origin's commits."""
    rng = random.Random(seed)
    put_release(tmp_path / "cache", "1.0", RELEASE_1)
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.chdir(tmp_path)
    origin = make_origin(rng, tmp_path / "origin")
    commits = list(history(origin, "base"))
    # A work tree holds the commits themselves; a mailbox what git says of those that it can carry.
    said = call(capsys, "import", _seed_patch(tmp_path), "--base", "tiny-llm==1.0", "--name", "f")
    assert said.code == 0, said.err
    work = tmp_path / "work"
    assert call(capsys, "edit", "f", "--dir", work).code == 0
    repository = Git(work)
    repository.run("fetch", "--quiet", tmp_path / "origin", "main")
    repository.run("checkout", "--quiet", "-B", "patchkit", "refs/patchkit/base")
    _replay(repository, commits)
    wanted = [
        (tree, _expect(origin, tmp_path, message)) for tree, message in history(
            repository, "refs/patchkit/base"
        )
    ]  # fmt: skip
    monkeypatch.chdir(work)
    said = call(capsys, "refresh")
    assert said.code == 0, said.err
    monkeypatch.chdir(tmp_path)
    _require_am(tmp_path / "am1", tmp_path / "patches" / "f", wanted)
    assert call(capsys, "refresh", "f", "--check").code == 0
    mailbox = tmp_path / "out.mbox"
    assert call(capsys, "export", "f", "--output", mailbox).code == 0
    said = call(capsys, "import", mailbox, "--base", "tiny-llm==1.0", "--name", "g")
    assert said.code == 0, said.err
    _require_prefix(_apply_am(tmp_path / "am2", tmp_path / "patches" / "g"), wanted)
    _require_import(capsys, origin, tmp_path, rng, wanted)


def _seed_patch(folder: Path) -> Path:
    file = folder / "seed.diff"
    file.write_bytes(
        b"--- a/tiny_llm/engine.py\n+++ b/tiny_llm/engine.py\n@@ -1 +1 @@\n"
        b"-def engine_0(): return 0\n+def engine_0(): return 1\n"
    )
    return file


def _replay(repository: Git, commits: list[tuple[str, str]]) -> None:
    """Commit the origin's trees again, on the work tree's base."""
    parent = repository.run("rev-parse", "refs/patchkit/base").decode().strip()
    for tree, message in commits:
        made = repository.run("commit-tree", tree, "-p", parent, data=message.encode())
        parent = made.decode().strip()
    repository.run("reset", "--quiet", "--hard", parent)


def _expect(git: Git, folder: Path, message: str) -> tuple[str, list[str]]:
    """Return the subject and the lines of the body that must come out."""
    lines = strip_space(git, message)
    end = lines.index("") if "" in lines else len(lines)
    return carried_by_mail(git, folder, message), lines[end:]


def _apply_am(folder: Path, stack: Path) -> list[tuple[str, str]]:
    git = Git.create(folder, RELEASE_1)
    names = (stack / "series").read_text().split()
    git.run("am", "--quiet", "--keep-non-patch", "--keep-cr", *(stack / name for name in names))
    return list(history(git, "base"))


def _require_am(folder: Path, stack: Path, wanted: list[tuple[str, tuple[str, list[str]]]]) -> None:
    found = _apply_am(folder, stack)
    assert [tree for tree, _ in found] == [tree for tree, _ in wanted]
    for (_, message), (_, (subject, body)) in zip(found, wanted, strict=True):
        lines = [*message.rstrip("\n").split("\n"), ""]
        assert lines[0] == subject
        assert unquoted(lines[1:], body) == body


def _require_prefix(
    found: list[tuple[str, str]], wanted: list[tuple[str, tuple[str, list[str]]]]
) -> None:
    """The trees are the same, and so are the messages, but for trailers that import adds."""
    assert [tree for tree, _ in found] == [tree for tree, _ in wanted]
    for (_, message), (_, (subject, body)) in zip(found, wanted, strict=True):
        lines = message.rstrip("\n").split("\n")
        kept = body[:-1] if body[-1:] == [""] else body
        assert lines[0] == subject
        assert unquoted(lines[1 : 1 + len(kept)], kept) == kept


def _require_import(
    capsys: pytest.CaptureFixture[str], origin: Git, folder: Path, rng: random.Random,
    wanted: list[tuple[str, tuple[str, list[str]]]],
) -> None:  # fmt: skip
    """A mailbox of git's gives the origin's trees, or is refused with the reason."""
    mailbox = folder / "origin.mbox"
    options = rng.choice(DIALECTS)
    mailbox.write_bytes(origin.run("format-patch", "--stdout", *options, "base..HEAD"))
    said = call(capsys, "import", mailbox, "--base", "tiny-llm==1.0", "--name", "h")
    if said.code:
        assert "nothing tells" in said.err or "cannot be imported" in said.err
        return
    if "no diff is in the mail" in said.err:
        return
    found = _apply_am(folder / "am3", folder / "patches" / "h")
    assert [tree for tree, _ in found] == [tree for tree, _ in wanted]
    oracle = Git.create(folder / "am4", RELEASE_1)
    argv = ("am", "--quiet", "--keep-non-patch", "--keep-cr", mailbox)
    oracle.run(*argv, check=False)
    for (_, message), (_, carried) in zip(found, history(oracle, "base"), strict=False):
        # git itself may be fooled by a later mail; what it did carry, import carries too.
        body = carried.rstrip("\n").split("\n")
        assert unquoted(message.split("\n")[: len(body)], body) == body
