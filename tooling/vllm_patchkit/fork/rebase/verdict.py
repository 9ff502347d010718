"""Whether a hunk is still needed on a new release. Pure: lines in, verdict out.

Blank lines are left out. Indentation is a part of a Python program: only lines that are there with
it are merged. Where they are there with another one, upstream reformatted, or wrote another
program; the verdict says no more than that white space differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vllm_patchkit.diff.model import Hunk

Kind = Literal[
    "still needed",
    "merged upstream",
    "only white space differs",
    "partly merged",
    "moved to another file",
    "would apply twice",
]
# Fewer characters than this ("else:", "return None") are found anywhere and prove nothing.
TELLING_CHARS = 16
ANCHOR_LINES = 3
Search = Callable[[str], "str | None"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HunkVerdict:
    """The verdict on one hunk, and what it rests on."""

    path: str
    hunk: int
    verdict: Kind
    note: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of changed lines in a hunk, with the context line on either side."""

    removed: tuple[str, ...]
    added: tuple[str, ...]
    above: str
    below: str


@dataclass(frozen=True, slots=True)
class Text:
    """A file's lines without blank ones, in a form to search in.

    :param exact: with their indentation.
    :param loose: without it.
    """

    exact: str
    loose: str

    @classmethod
    def of(cls, data: bytes | None) -> Text:
        """Return the text of a file's bytes."""
        lines = (data or b"").decode("utf-8", "replace").splitlines()
        kept = [line.rstrip() for line in lines if line.strip()]
        return cls(_run(kept), _run(line.strip() for line in kept))


def judge_hunk(
    hunk: Hunk,
    *,
    path: str,
    number: int,
    target: Text,
    result: Text | None,
    search: Search,
) -> HunkVerdict:
    """Return the verdict on a hunk.

    :param target: the file in the new release (with the patches before).
    :param result: the file after a clean merge; None after a conflict.
    :param search: gives the path of another file of the release that a run of lines, without
        their indentation, moved to.
    """
    exact = [_is_there(block, target.exact) for block in _blocks(hunk, loose=False)]
    blocks = list(_blocks(hunk, loose=True))
    # Of a block that changes nothing but white space, the lines without it say nothing.
    loose = [
        there or (block.removed != block.added and _is_there(block, target.loose))
        for there, block in zip(exact, blocks, strict=True)
    ]
    kind: Kind = "still needed"
    note = ""
    if blocks and all(loose):
        kind = "merged upstream" if all(exact) else "only white space differs"
        if result is not None and any(_grows(block, target, result) for block in blocks):
            kind = "would apply twice"
    elif any(loose):
        kind = "partly merged"
        note = f"{sum(loose)} of {len(loose)} changes are upstream"
    elif elsewhere := _find_elsewhere(hunk, target.loose, search):
        kind, note = "moved to another file", elsewhere
    return HunkVerdict(path=path, hunk=number, verdict=kind, note=note)


def _blocks(hunk: Hunk, *, loose: bool) -> Iterator[Block]:
    lines = [(line.op, _text(line.content, loose=loose)) for line in hunk.lines]
    place = 0
    while place < len(lines):
        if lines[place][0] == " ":
            place += 1
            continue
        end = place
        while end < len(lines) and lines[end][0] != " ":
            end += 1
        removed = tuple(text for op, text in lines[place:end] if op == "-" and text)
        added = tuple(text for op, text in lines[place:end] if op == "+" and text)
        above = next((text for op, text in reversed(lines[:place]) if text), "")
        below = next((text for op, text in lines[end:] if op == " " and text), "")
        if removed or added:
            yield Block(removed, added, above, below)
        place = end


def _text(content: bytes, *, loose: bool = True) -> str:
    text = content.decode("utf-8", "replace")
    return text.strip() if loose else text.rstrip()


def _run(lines: Iterable[str]) -> str:
    """Return lines as text in which a run of lines is a substring and never shares an end."""
    return "".join(f"\n{line}\n" for line in lines)


def _is_there(block: Block, target: str) -> bool:
    """Return whether the file has what the block adds, and no longer what it removes."""
    # What is removed may be a part of what is added, as in a longer condition.
    part = bool(block.added) and _run(block.removed) in _run(block.added)
    if block.removed and _run(block.removed) in target and not part:
        return False
    if not block.added:
        return bool(block.above and block.below) and _run((block.above, block.below)) in target
    if _is_telling(block.added):
        return _run(block.added) in target
    wide = tuple(filter(None, (block.above, *block.added)))
    low = tuple(filter(None, (*block.added, block.below)))
    return len(wide) > 1 and _run(wide) in target and _run(low) in target


def _is_telling(lines: tuple[str, ...]) -> bool:
    return sum(map(len, lines)) >= TELLING_CHARS


def _grows(block: Block, target: Text, result: Text) -> bool:
    run = _run(block.added)
    return bool(block.added) and result.loose.count(run) > target.loose.count(run)


def _find_elsewhere(hunk: Hunk, target: str, search: Search) -> str | None:
    before = tuple(text for line in hunk.lines if line.op != "+" and (text := _text(line.content)))
    if len(before) < ANCHOR_LINES or not _is_telling(before) or _run(before) in target:
        return None
    return search(_run(before))
