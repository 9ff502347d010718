"""The Emu3.5 stack without our tools: git am, GNU patch and quilt reach the lock's hashes."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from support.peers import ENVIRONMENT, Repository, gnu_patch, write_contents
from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.errors import HunkMismatch
from vllm_patchkit.stack.model import Lock, LockedFile, Stack
from vllm_patchkit.stack.read import read_lock, read_stack
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = pytest.mark.network

FOLDER = Path(__file__).parents[2] / "patches" / "emu3_5"


@pytest.fixture(scope="module")
def stack() -> Stack:
    return read_stack(FOLDER)


@pytest.fixture(scope="module")
def lock() -> Lock:
    return read_lock(FOLDER)


@pytest.fixture(scope="module")
def sources() -> dict[bytes, bytes | None]:
    """The Python files of vLLM 0.11.0."""
    with zipfile.ZipFile(fetch_input("vllm-0.11.0")) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".py")]
        return {name.encode(): wheel.read(name) for name in names}


def digests(tree: Path, files: tuple[LockedFile, ...]) -> dict[str, str | None]:
    return {
        file.path: sha256((tree / file.path).read_bytes()).hexdigest()
        if (tree / file.path).exists()
        else None
        for file in files
    }


def expected(files: tuple[LockedFile, ...]) -> dict[str, str | None]:
    return {file.path: file.after for file in files}


def test_the_lock_starts_from_the_release(lock: Lock, sources):
    """The hashes before are those of the official wheel's files."""
    assert lock.files
    for file in lock.files:
        data = sources.get(file.path.encode())
        assert file.before == (None if data is None else sha256(data).hexdigest())


def test_git_am(stack: Stack, lock: Lock, sources, tmp_path: Path):
    """Each commit that git am makes has the locked hashes, author and subject of its patch."""
    repository = Repository.create(tmp_path / "vllm")
    repository.commit(sources)
    repository.git("reset", "--hard", "-q", "main")
    patches = [FOLDER / patch.name for patch in stack.patches]

    repository.git("am", "--quiet", "--keep-non-patch", *patches)

    log = repository.git(
        "log", "--reverse", "--format=%H%x00%an%x00%ae%x00%s", f"HEAD~{len(patches)}..HEAD"
    )
    commits = [line.split("\0") for line in log.decode().splitlines()]
    assert len(commits) == len(stack.patches) == len(lock.patches)
    for (commit, name, email, subject), patch, locked in zip(
        commits, stack.patches, lock.patches, strict=True
    ):
        message = patch.message
        assert (name, email, subject) == (message.author, message.email, message.subject)
        assert locked.files
        for file in locked.files:
            data = repository.git("cat-file", "blob", f"{commit}:{file.path}")
            assert sha256(data).hexdigest() == file.after
    assert digests(repository.root, lock.files) == expected(lock.files)


def test_git_format_patch_writes_the_same_files(stack: Stack, sources, tmp_path: Path):
    """Exporting what git am made changes no byte and no file name."""
    repository = Repository.create(tmp_path / "vllm")
    repository.commit(sources)
    repository.git("reset", "--hard", "-q", "main")
    repository.git("am", "--quiet", "--keep-non-patch", *(FOLDER / p.name for p in stack.patches))
    out = tmp_path / "out"
    repository.git(
        "format-patch", "--zero-commit", "--full-index", "--keep-subject", "--no-stat",
        "--no-signature", "-o", out, f"HEAD~{len(stack.patches)}..HEAD",
    )  # fmt: skip
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {
        patch.name: patch.data for patch in stack.patches
    }


def test_gnu_patch(stack: Stack, lock: Lock, sources, tmp_path: Path):
    """After each ``patch -p1`` the files have that patch's locked hashes: no fuzz, no offset."""
    write_contents(tmp_path, sources)
    for patch, locked in zip(stack.patches, lock.patches, strict=True):
        done = gnu_patch(tmp_path, patch.data)
        assert done.returncode == 0, done.stdout
        assert b"offset" not in done.stdout
        assert digests(tmp_path, locked.files) == expected(locked.files)
    assert digests(tmp_path, lock.files) == expected(lock.files)


@pytest.mark.skipif(shutil.which("quilt") is None, reason="quilt is not installed")
def test_quilt(lock: Lock, sources, tmp_path: Path):
    """The folder is a quilt series: push all, pop all."""
    write_contents(tmp_path, sources)
    environment = {**ENVIRONMENT, "QUILT_PATCHES": str(FOLDER)}
    for words, files in (
        (["push", "-a", "--fuzz=0"], expected(lock.files)),
        (["pop", "-a"], {file.path: file.before for file in lock.files}),
    ):
        done = subprocess.run(
            ["quilt", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert digests(tmp_path, lock.files) == files


LINES = [f"line {number}\n" for number in range(1, 31)]
MAIL = (
    "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
    "From: Ada Lovelace <ada@example.org>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n"
    "Subject: [PATCH] Change line 15\n\n---\n"
    "diff --git a/f b/f\n--- a/f\n+++ b/f\n"
    "@@ -12,7 +12,7 @@\n line 12\n line 13\n line 14\n-line 15\n+fifteen\n"
    " line 16\n line 17\n line 18\n-- \n2.39\n"
)


@pytest.mark.parametrize(
    ("lines", "quilt", "git", "ours"),
    [
        (LINES, True, True, True),
        (["new\n", *LINES], True, True, False),
        (["new\n", *LINES[:11], "other\n", *LINES[12:]], True, False, False),
    ],
    ids=["exact", "offset", "fuzz"],
)
def test_what_counts_as_a_match_is_as_the_readme_compares_it(
    lines: list[str], quilt: bool, git: bool, ours: bool, tmp_path: Path
) -> None:
    """GNU patch below quilt takes offsets and fuzz, git am takes offsets, the toolkit neither."""
    for name in ("quilt", "git"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("".join(lines))
    (tmp_path / "quilt/patches").mkdir()
    (tmp_path / "quilt/patches/series").write_text("p.patch\n")
    (tmp_path / "quilt/patches/p.patch").write_text(MAIL)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C"}
    environment |= {f"GIT_{who}_{what}": f"{what.lower()}@example.org"
                    for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip

    def succeeds(*words: str, folder: str, text: str = "") -> bool:
        done = subprocess.run(
            words,
            cwd=tmp_path / folder,
            env=environment,
            input=text,
            text=True,
            capture_output=True,
        )
        return done.returncode == 0

    for words in (["init", "-q"], ["add", "f"], ["commit", "-qm", "base"]):
        assert succeeds("git", *words, folder="git")
    assert succeeds("quilt", "push", folder="quilt") == quilt
    assert succeeds("git", "am", folder="git", text=MAIL) == git
    files = parse_diff(MAIL.encode())
    if ours:
        assert apply_diff(files, {"f": "".join(lines).encode()}.get)
    else:
        with pytest.raises(HunkMismatch):
            apply_diff(files, {"f": "".join(lines).encode()}.get)
