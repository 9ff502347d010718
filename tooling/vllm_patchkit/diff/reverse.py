"""The diff that takes a diff back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vllm_patchkit.diff.model import FileDiff, Hunk, Line, Op
from vllm_patchkit.errors import PatchFormatError

OPPOSITE: dict[Op, Op] = {" ": " ", "+": "-", "-": "+"}


def reverse_diff(files: Iterable[FileDiff]) -> tuple[FileDiff, ...]:
    """Return the diff that undoes ``files``, last one first.

    :raises PatchFormatError: a binary change.
    """
    return tuple(map(reverse_file, reversed(tuple(files))))


def reverse_file(diff: FileDiff) -> FileDiff:
    """Return the diff that undoes one file's change.

    The reverse of a copy deletes the copy: it has no ``new_path`` but stays marked ``copied``,
    because its hunks lead back to the source's content and not to an empty file.
    """
    if diff.binary:
        raise PatchFormatError(f"{diff.path}: a binary change cannot be reversed")
    return replace(
        diff,
        old_path=diff.new_path,
        new_path=None if diff.copied else diff.old_path,
        hunks=tuple(map(reverse_hunk, diff.hunks)),
        old_mode=diff.new_mode,
        new_mode=diff.old_mode,
        old_blob=diff.new_blob,
        new_blob=diff.old_blob,
    )


def reverse_hunk(hunk: Hunk) -> Hunk:
    """Return the hunk with its two sides exchanged, removed lines before added ones."""
    return replace(
        hunk,
        old_start=hunk.new_start,
        old_count=hunk.new_count,
        new_start=hunk.old_start,
        new_count=hunk.old_count,
        lines=_exchange(hunk.lines),
    )


def _exchange(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return the opposite lines; each run of changes keeps git's order, ``-`` before ``+``."""
    result: list[Line] = []
    added: list[Line] = []
    for line in lines:
        opposite = Line(OPPOSITE[line.op], line.content)
        if opposite.op == "+":
            added.append(opposite)
        elif opposite.op == "-":
            result.append(opposite)
        else:
            result += [*added, opposite]
            added = []
    return (*result, *added)
