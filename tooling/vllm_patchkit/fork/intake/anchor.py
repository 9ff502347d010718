"""Putting hunks that lost their place back, with git's own search."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.diff.apply import apply_file
from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import FileDiff, Hunk
from vllm_patchkit.errors import HunkMismatch, PatchFormatError
from vllm_patchkit.fork.rebase.merge import merge_contents
from vllm_patchkit.fork.store.git import Repository, git_environment
from vllm_patchkit.host.process import capture

NAME = "file"
OFFSET = re.compile(r"Hunk #(\d+) succeeded at (\d+) \(offset (-?\d+) lines?\)")
REDUCED = re.compile(r"Context reduced to \((\d+)/(\d+)\) to apply fragment at (\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchored:
    """A file's new content, and what it took to place the hunks.

    :param offsets: (hunk, line it landed on, lines off).
    :param fuzz: most context lines that had to be ignored on a side.
    """

    content: bytes
    offsets: tuple[tuple[int, int, int], ...] = ()
    fuzz: int = 0
    merged: bool = False


def anchor_file(
    diff: FileDiff, before: bytes, *, max_fuzz: int, store: Repository | None = None
) -> Anchored | None:
    """Return the content that ``diff`` makes of ``before``, None where no place fits.

    Tried in this order: git's search at other lines; a three-way merge, where the store has the
    very blob that the diff was cut from; the search with context lines ignored.

    :param max_fuzz: context lines of a side that may be ignored (0 to 2).
    """
    anchored = _search(diff.hunks, before, 0)
    if anchored is None and store is not None:
        anchored = _merge(diff, before, store)
    for fuzz in range(1, max_fuzz + 1):
        if anchored is None:
            anchored = _search(diff.hunks, before, fuzz)
    return anchored


def _search(hunks: Sequence[Hunk], before: bytes, fuzz: int) -> Anchored | None:
    context = max((_context_lines(hunk) for hunk in hunks), default=0)
    plain = FileDiff(old_path=NAME, new_path=NAME, hunks=tuple(hunks))
    with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
        folder = Path(name)
        file = folder / NAME
        file.write_bytes(before)
        argv = ["git", "apply", "--verbose", "--whitespace=nowarn"]
        # Without -C, git lets no line of context go.
        argv += [f"-C{max(context - fuzz, 0)}"] if fuzz else []
        argv += [] if context else ["--unidiff-zero"]
        env = git_environment({"GIT_CEILING_DIRECTORIES": str(folder.parent)})
        done = capture([*argv, "-"], cwd=folder, env=env, input_bytes=format_diff([plain]))
        if done.status:
            return None
        said = done.stderr.decode("utf-8", "replace")
        offsets = tuple(
            (int(hunk), int(line), int(off)) for hunk, line, off in OFFSET.findall(said)
        )
        left = [min(int(low), int(high)) for low, high, _ in REDUCED.findall(said)]
        used = context - min([context, *left])
        return Anchored(content=file.read_bytes(), offsets=offsets, fuzz=used)


def _context_lines(hunk: Hunk) -> int:
    """Return how many lines of context a hunk has on its longer side."""
    ops = [line.op for line in hunk.lines]
    changes = [index for index, op in enumerate(ops) if op != " "]
    return max(changes[0], len(ops) - 1 - changes[-1])


def _merge(diff: FileDiff, before: bytes, store: Repository) -> Anchored | None:
    base = store.resolve(f"{diff.old_blob}^{{blob}}") if diff.old_blob else None
    if base is None:
        return None
    origin = store.read_blob(base)
    try:
        theirs = apply_file(diff, origin)
    except (HunkMismatch, PatchFormatError):
        return None
    content, clean = merge_contents(before, origin, theirs or b"")
    return Anchored(content=content, merged=True) if clean else None
