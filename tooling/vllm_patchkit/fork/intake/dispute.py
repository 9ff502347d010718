"""Hunks that do not apply, as two versions of a file that git's merge stops at. Pure.

The file of the release is one side. The other has every hunk's new lines where they belong most
likely; the version that both come from has, in place of what a hunk did not find, the hunk's own
text, so that no merge takes it for applied and a reader sees what it wanted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from vllm_patchkit.diff.format import format_hunk
from vllm_patchkit.diff.model import Hunk

# How many lines around the named one are looked through before the rest of the file.
NEAR_LINES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Disputed:
    """What a merge with the release's file stops at.

    :param origin: the version that the patch shall seem to be made on.
    :param patched: that version with every hunk applied.
    :param numbers: the hunks that fit nowhere, counted from 1.
    """

    origin: bytes
    patched: bytes
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a hunk belongs: lines ``start`` to ``end`` of the file, counted from 0."""

    start: int
    end: int
    fits: bool


def dispute_file(hunks: Sequence[Hunk], before: bytes) -> Disputed:
    """Return the two versions to merge a file's hunks with.

    Hunks that fit somewhere in their order are placed; each other one is a conflict, unless the
    file has its new lines already.
    """
    lines = io.BytesIO(before).readlines()
    origin: list[bytes] = []
    patched: list[bytes] = []
    spots = _find_spots(hunks, lines)
    taken = 0
    for hunk, spot in zip(hunks, spots, strict=True):
        origin += lines[taken : spot.start]
        patched += lines[taken : spot.start]
        origin += lines[spot.start : spot.end] if spot.fits else [format_hunk(hunk)]
        patched += _side(hunk, "-")
        taken = spot.end
    return Disputed(
        origin=_join(origin + lines[taken:]),
        patched=_join(patched + lines[taken:]),
        numbers=tuple(number for number, spot in enumerate(spots, 1) if not spot.fits),
    )


def _join(lines: Sequence[bytes]) -> bytes:
    """Return the lines as a file; only the last one may lack its end."""
    ended = [line if line.endswith(b"\n") else line + b"\n" for line in lines[:-1]]
    return b"".join([*ended, *lines[-1:]])


def _side(hunk: Hunk, other: str) -> list[bytes]:
    return [line.content for line in hunk.lines if line.op != other]


def _find_spots(hunks: Sequence[Hunk], lines: Sequence[bytes]) -> list[_Spot]:
    """Return where each hunk belongs, in order and apart from each other."""
    fitting: dict[int, _Spot] = {}
    nears = []
    floor = shift = 0
    for index, hunk in enumerate(hunks):
        # A range without lines names the line before it.
        near = hunk.old_start - bool(hunk.old_count) + shift
        nears.append(near)
        start = _fit(hunk, lines, floor, near)
        if start is not None:
            floor, shift = start + hunk.old_count, shift + start - near
            fitting[index] = _Spot(start, floor, fits=True)
    spots: list[_Spot] = []
    for index, hunk in enumerate(hunks):
        low = spots[-1].end if spots else 0
        later = (fitting[k].start for k in range(index, len(hunks)) if k in fitting)
        high = next(later, len(lines))
        spots.append(fitting.get(index) or _guess(hunk, lines, low, high, nears[index]))
    return spots


def _fit(hunk: Hunk, lines: Sequence[bytes], floor: int, near: int) -> int | None:
    """Return the place nearest to ``near`` that has the hunk's old lines, as git apply reads it."""
    old = _side(hunk, "+")
    if not old:
        return None
    last = len(lines) - len(old)
    # As in git: the first line means the beginning, and no context after a change the end.
    if hunk.old_start <= 1:
        last = min(last, 0)
    if hunk.lines[-1].op != " " and any(line.op == " " for line in hunk.lines):
        floor = max(floor, len(lines) - len(old))
    return _nearest(old, lines, floor, last, near)


def _nearest(
    wanted: Sequence[bytes], lines: Sequence[bytes], low: int, last: int, near: int
) -> int | None:
    found = [
        start
        for start in range(low, last + 1)
        if lines[start] == wanted[0] and list(lines[start : start + len(wanted)]) == wanted
    ]
    return min(found, key=lambda start: abs(start - near), default=None)


def _guess(hunk: Hunk, lines: Sequence[bytes], low: int, high: int, near: int) -> _Spot:
    """Return the lines between ``low`` and ``high`` that the hunk was most likely meant for."""
    old = _side(hunk, "+")
    for reach in (NEAR_LINES, len(lines)):
        first, last = max(low, near - reach), min(high, near + len(old) + reach)
        spot = _resembling(old, lines, first, last) if first < last else None
        if spot is not None:
            return spot
    start = min(max(near, low), high)
    return _Spot(start, min(start + len(old), high), fits=False)


def _resembling(old: Sequence[bytes], lines: Sequence[bytes], low: int, high: int) -> _Spot | None:
    """Return the lines that share the longest run with ``old``, and those around that match it."""
    best = SequenceMatcher(None, lines[low:high], old, autojunk=False).find_longest_match(
        0, high - low, 0, len(old)
    )
    if best.size < max(1, min(2, len(old))):
        return None
    begin = low + best.a - best.b
    first, last = max(low, begin - len(old)), min(high, begin + 2 * len(old))
    blocks = SequenceMatcher(None, lines[first:last], old, autojunk=False).get_matching_blocks()
    head, tail = blocks[0], blocks[-2]
    start = max(low, first + head.a - head.b)
    end = min(high, first + tail.a + len(old) - tail.b)
    return _Spot(start, max(start, end), fits=False)
