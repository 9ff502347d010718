"""Which words of a changed line changed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from vllm_patchkit.diff.model import Hunk, Line

WORD = re.compile(r"\w+|\s+|[^\w\s]")
# Below this likeness two lines have nothing to do with each other, and marks would be noise.
ALIKE = 0.4
MAX_WORDS = 400

Span = tuple[bool, str]
MarkedLine = tuple[str, tuple[Span, ...]]


def mark_hunk(hunk: Hunk) -> Iterator[MarkedLine]:
    """Yield each line of a hunk as its operation and its spans; True marks a changed word.

    A run of removed lines is paired, line by line, with the run of added lines after it.
    """
    lines = list(hunk.lines)
    at = 0
    while at < len(lines):
        if lines[at].op == " ":
            yield " ", ((False, text_of(lines[at])),)
            at += 1
            continue
        removed, at = _take(lines, at, "-")
        added, at = _take(lines, at, "+")
        yield from _mark_run(removed, added)


def _take(lines: Sequence[Line], at: int, op: str) -> tuple[list[str], int]:
    start = at
    while at < len(lines) and lines[at].op == op:
        at += 1
    return [text_of(line) for line in lines[start:at]], at


def _mark_run(removed: Sequence[str], added: Sequence[str]) -> Iterator[MarkedLine]:
    pairs = [mark_pair(old, new) for old, new in zip(removed, added, strict=False)]
    for index, text in enumerate(removed):
        yield "-", pairs[index][0] if index < len(pairs) else ((False, text),)
    for index, text in enumerate(added):
        yield "+", pairs[index][1] if index < len(pairs) else ((False, text),)


def mark_pair(old: str, new: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return the spans of two lines, with the words that differ marked.

    >>> mark_pair("a = 1", "a = 2")
    (((False, 'a = '), (True, '1')), ((False, 'a = '), (True, '2')))
    """
    before, after = WORD.findall(old), WORD.findall(new)
    plain = ((False, old),), ((False, new),)
    if len(before) + len(after) > MAX_WORDS:
        return plain
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < ALIKE:
        return plain
    left: list[Span] = []
    right: list[Span] = []
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        changed = kind != "equal"
        left.append((changed, "".join(before[i1:i2])))
        right.append((changed, "".join(after[j1:j2])))
    return _join(left), _join(right)


def _join(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(span for span in spans if span[1])


def text_of(line: Line) -> str:
    """Return a line without its end, readable whatever its bytes are."""
    return line.content.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
