"""Disputed hunks: git apply says which hunks apply, git merge-file what is made of the others."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.fork.intake.dispute import dispute_file


def run(folder: Path, *argv: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_CONFIG_GLOBAL": "/dev/null",
           "GIT_CONFIG_NOSYSTEM": "1", "GIT_CEILING_DIRECTORIES": str(folder.parent)}  # fmt: skip
    return subprocess.run(["git", *argv], cwd=folder, env=env, input=data, capture_output=True,
                          check=False)  # fmt: skip


def diff_of(folder: Path, old: bytes, new: bytes, context: int = 3) -> bytes:
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    text = run(folder, "diff", "--no-index", f"-U{context}", "old", "new").stdout
    return text.replace(b"b/new", b"b/old")


def merge(folder: Path, diff: bytes, ours: bytes) -> tuple[int, bytes]:
    """Return how many places conflict, and the merged file."""
    (file,) = parse_diff(diff, source="x")
    made = dispute_file(file.hunks, ours)
    for name, data in (("ours", ours), ("origin", made.origin), ("patched", made.patched)):
        (folder / name).write_bytes(data)
    done = run(folder, "merge-file", "-p", "--diff3", "ours", "origin", "patched")
    return done.returncode, done.stdout


def apply(folder: Path, diff: bytes, ours: bytes) -> bytes | None:
    """Return what git apply makes of the file, None where it refuses."""
    (folder / "old").write_bytes(ours)
    done = run(folder, "apply", "-", data=diff)
    return None if done.returncode else (folder / "old").read_bytes()


def change(lines: list[str], count: int, fresh: Iterator[int], rng: random.Random) -> list[str]:
    """Return the lines with some replaced, added or taken out; what is new is nowhere else."""
    lines = list(lines)
    for _ in range(count):
        place = rng.randrange(len(lines))
        new = rng.choice([[f"{next(fresh)}\n"], [f"{next(fresh)}\n", lines[place]], []])
        lines[place : place + 1] = new
    return lines


@pytest.mark.parametrize("seed", range(20))
def test_what_git_applies_merges_to_the_same_and_what_it_refuses_conflicts(
    tmp_path: Path, seed: int
) -> None:
    """Every line is there once, so each hunk has one place at most."""
    rng = random.Random(seed)
    fresh = iter(range(1000, 9999))
    base = [f"{number}\n" for number in range(60)]
    theirs = change(base, rng.randrange(1, 5), fresh, rng)
    ours = "".join(change(base, rng.randrange(6), fresh, rng)).encode()
    diff = diff_of(tmp_path, "".join(base).encode(), "".join(theirs).encode())
    wanted = apply(tmp_path, diff, ours)
    conflicts, merged = merge(tmp_path, diff, ours)
    if wanted is None:
        assert conflicts > 0
    else:
        assert (conflicts, merged) == (0, wanted)


BASE = b"".join(b"line %d\n" % number for number in range(1, 21))


@pytest.mark.parametrize(
    ("old", "new", "ours", "conflicts"),
    [
        # Another context line: git apply refuses, a merge of lines alone would be clean.
        (BASE, BASE.replace(b"line 10\n", b"ten\n"), BASE.replace(b"line 8\n", b"8\n"), 1),
        # Two hunks, one of which fits, at other lines.
        (BASE, BASE.replace(b"line 6\n", b"6\n").replace(b"line 18\n", b"18\n"),
         b"first\n" * 9 + BASE.replace(b"line 18\n", b"eighteen\n"), 1),
        # Nothing of it is there.
        (BASE, BASE.replace(b"line 10\n", b"ten\n"), b"other\n" * 3, 1),
        (BASE, BASE.replace(b"line 10\n", b"ten\n"), b"", 1),
        # The release has it already: nothing is left to do.
        (BASE, BASE.replace(b"line 10\n", b"ten\n"), BASE.replace(b"line 10\n", b"ten\n"), 0),
        # At the end, of a file that goes on, and of one without a last line end.
        (BASE, BASE + b"more\n", BASE + b"else\n", 1),
        (BASE, BASE + b"more\n", BASE.replace(b"line 19", b"nineteen")[:-1], 1),
        # A deletion whose neighbours stand together somewhere else is not done yet.
        (BASE, BASE[:-8], BASE[:-1], 1),
    ],
)  # fmt: skip
def test_nothing_is_taken_for_applied(
    tmp_path: Path, old: bytes, new: bytes, ours: bytes, conflicts: int
) -> None:
    found, merged = merge(tmp_path, diff_of(tmp_path, old, new), ours)
    assert found == conflicts, merged
    if not conflicts:
        assert merged == ours


def test_an_insertion_without_context_is_a_conflict_where_it_was(tmp_path: Path) -> None:
    """Its line stands elsewhere in the file, which says nothing."""
    diff = diff_of(tmp_path, BASE, BASE.replace(b"line 9\n", b"line 9\nline 4\n"), context=0)
    found, merged = merge(tmp_path, diff, BASE)
    assert found == 1
    assert merged.index(b"<<<<<<<") == merged.index(b"line 9\n") + len(b"line 9\n")


def test_the_hunk_s_own_text_stands_between_the_sides(tmp_path: Path) -> None:
    diff = diff_of(tmp_path, BASE, BASE.replace(b"line 10\n", b"ten\n"))
    _, merged = merge(tmp_path, diff, BASE.replace(b"line 10\n", b"zehn\n"))
    shown = merged.partition(b"|||||||")[2].partition(b"\n")[2].partition(b"=======")[0]
    assert shown == diff[diff.index(b"@@ ") :]
