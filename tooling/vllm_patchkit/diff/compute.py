"""Edits that somebody made to a file, as a diff. Pure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import FileDiff, Hunk, Line
from vllm_patchkit.digest import blob_id

CONTEXT_LINES = 3
NO_BLOB = "0" * 40
Pair = tuple["bytes | None", "bytes | None"]


def diff_contents(path: str, before: bytes | None, after: bytes | None) -> FileDiff:
    """Return the diff between two contents of a file; None is no file."""
    if before is None or after is None:
        mode_before, mode_after = (None, "100644") if before is None else ("100644", None)
    else:
        mode_before = mode_after = "100644"
    return FileDiff(
        old_path=None if before is None else path,
        new_path=None if after is None else path,
        hunks=tuple(_hunks(_lines(before), _lines(after))),
        old_mode=mode_before,
        new_mode=mode_after,
        old_blob=NO_BLOB if before is None else blob_id(before),
        new_blob=NO_BLOB if after is None else blob_id(after),
    )


def format_edits(edits: Mapping[str, Pair]) -> bytes:
    """Return a patch of the edits (path -> before, after), sorted by path."""
    return format_diff([diff_contents(path, *edits[path]) for path in sorted(edits)])


def describe_edits(path: str, before: bytes | None, after: bytes | None) -> str:
    """Return where a file was edited, for a message."""
    if after is None:
        return f"{path}: it was deleted"
    if before is None:
        return f"{path}: it was put back"
    matcher = SequenceMatcher(None, _lines(before), _lines(after), autojunk=False)
    places = [
        (j1 + 1, max(j2, j1 + 1)) for tag, _, _, j1, j2 in matcher.get_opcodes() if tag != "equal"
    ]
    shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in places[:5])
    more = f" and {len(places) - 5} more places" if len(places) > 5 else ""
    return f"{path}: edited at line {shown}{more}"


def _lines(content: bytes | None) -> list[bytes]:
    return io.BytesIO(content or b"").readlines()


def _hunks(old: list[bytes], new: list[bytes]) -> Iterator[Hunk]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(CONTEXT_LINES):
        old_first, old_end = group[0][1], group[-1][2]
        new_first, new_end = group[0][3], group[-1][4]
        lines = [line for code in group for line in _changed_lines(code, old, new)]
        yield Hunk(
            old_start=_range_start(old_first, old_end),
            old_count=old_end - old_first,
            new_start=_range_start(new_first, new_end),
            new_count=new_end - new_first,
            section=b"",
            lines=tuple(lines),
        )


def _range_start(first: int, end: int) -> int:
    """Return the line number of a range; an empty one names the line before it (POSIX diff)."""
    return first + 1 if end > first else first


def _changed_lines(
    code: tuple[str, int, int, int, int], old: Sequence[bytes], new: Sequence[bytes]
) -> Iterator[Line]:
    tag, i1, i2, j1, j2 = code
    if tag == "equal":
        yield from (Line(" ", content) for content in old[i1:i2])
        return
    yield from (Line("-", content) for content in old[i1:i2])
    yield from (Line("+", content) for content in new[j1:j2])
