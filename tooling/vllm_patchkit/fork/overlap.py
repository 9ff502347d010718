"""Which patches touch the same lines. Pure: diffs in, relations out.

A patch's changed lines are followed through the patches between it and a later one, so that
both are compared in the same numbering.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vllm_patchkit.diff.model import FileDiff, Hunk
from vllm_patchkit.stack.model import Patch

Relation = Literal["same lines", "near", "same file", "needs"]
# git keeps three lines of context around a change; closer changes see each other there.
CONTEXT_LINES = 3
DEFINITION = re.compile(r"(?m)^(?:async )?(?:def|class) (\w+)")


@dataclass(frozen=True, slots=True)
class Range:
    """Lines ``start`` up to before ``end``, counted from 0; an empty one is a place between."""

    start: int
    end: int

    def touches(self, other: Range) -> bool:
        """Return whether the two share a line or a border, as git's merge sees it."""
        return self.start <= other.end and other.start <= self.end

    def is_near(self, other: Range) -> bool:
        """Return whether one lies in the other's context."""
        gap = max(self.start - other.end, other.start - self.end)
        return gap < CONTEXT_LINES


@dataclass(frozen=True, slots=True)
class Edit:
    """A run of changed lines: where it was, and where it is."""

    old: Range
    new: Range


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """How two patches meet in one file, and whether their order could be swapped."""

    first: str
    second: str
    path: str
    relation: Relation

    @property
    def commutes(self) -> bool:
        """Whether the two give the same result in either order."""
        return self.relation in ("near", "same file")


def edits_of(diff: FileDiff) -> list[Edit]:
    """Return a file's runs of changed lines, in order."""
    return [edit for hunk in diff.hunks for edit in _hunk_edits(hunk)]


def _hunk_edits(hunk: Hunk) -> Iterator[Edit]:
    old = hunk.old_start - 1 if hunk.old_count else hunk.old_start
    new = hunk.new_start - 1 if hunk.new_count else hunk.new_start
    old_from, new_from = old, new
    for line in (*hunk.lines, None):
        if line is None or line.op == " ":
            if (old, new) != (old_from, new_from):
                yield Edit(Range(old_from, old), Range(new_from, new))
            old, new = old + 1, new + 1
            old_from, new_from = old, new
        elif line.op == "-":
            old += 1
        else:
            new += 1


def follow(ranges: Sequence[Range], edits: Sequence[Edit]) -> list[Range]:
    """Return where lines are after a later patch; those that it rewrote are its own now."""
    return [piece for item in ranges for piece in _follow_one(item, edits)]


def trace_back(ranges: Sequence[Range], edits: Sequence[Edit]) -> list[Range]:
    """Return where lines were before an earlier patch; its own shrink to where it put them."""
    reverse = [Edit(edit.new, edit.old) for edit in edits]
    found = follow(ranges, reverse)
    for edit in edits:
        if any(item.touches(edit.new) for item in ranges):
            found.append(edit.old)
    return found


def _follow_one(item: Range, edits: Sequence[Edit]) -> Iterator[Range]:
    start, shift = item.start, 0
    for edit in edits:
        if edit.old.end <= start:
            shift = edit.new.end - edit.old.end
            continue
        if edit.old.start >= item.end:
            break
        if edit.old.start > start:
            yield Range(start + shift, edit.old.start + shift)
        start = min(edit.old.end, item.end)
        shift = edit.new.end - edit.old.end
    if start < item.end or item.start == item.end:
        yield Range(start + shift, item.end + shift)


def find_overlaps(patches: Sequence[Patch]) -> list[Overlap]:
    """Return every pair of a stack's patches that meet in a file, in series order."""
    found: list[Overlap] = []
    for index, first in enumerate(patches):
        for diff in first.files:
            found += _meet_later(first, diff, patches[index + 1 :])
    return found


def _meet_later(first: Patch, diff: FileDiff, later: Sequence[Patch]) -> Iterator[Overlap]:
    path = diff.new_path
    if path is None:
        return
    ranges = [edit.new for edit in edits_of(diff)]
    created = diff.old_path is None or diff.renamed
    for patch in later:
        match = next((item for item in patch.files if item.old_path == path), None)
        if match is None:
            continue
        edits = edits_of(match)
        relation = "needs" if created else _relate(ranges, [edit.old for edit in edits])
        yield Overlap(first=first.name, second=patch.name, path=path, relation=relation)
        ranges = follow(ranges, edits)
        if match.new_path is None:
            return
        path = match.new_path


def _relate(first: Sequence[Range], second: Sequence[Range]) -> Relation:
    pairs = [(one, other) for one in first for other in second]
    if any(one.touches(other) for one, other in pairs):
        return "same lines"
    return "near" if any(one.is_near(other) for one, other in pairs) else "same file"


def find_crossings(left: Sequence[Patch], right: Sequence[Patch]) -> list[Overlap]:
    """Return every pair of patches of two stacks on one base that meet in a file."""
    ours, theirs = base_ranges(left), base_ranges(right)
    found = []
    for first in left:
        for second in right:
            shared = ours[first.name].keys() & theirs[second.name].keys()
            for path in sorted(shared):
                relation = _relate(ours[first.name][path], theirs[second.name][path])
                found.append(
                    Overlap(first=first.name, second=second.name, path=path, relation=relation)
                )
    return found


def base_ranges(patches: Sequence[Patch]) -> dict[str, dict[str, list[Range]]]:
    """Return patch -> path -> the lines of the base that it changes.

    Files that the stack itself adds count from their first line.
    """
    history: dict[str, list[list[Edit]]] = {}
    found: dict[str, dict[str, list[Range]]] = {}
    for patch in patches:
        found[patch.name] = {}
        for diff in patch.files:
            edits = edits_of(diff)
            path = diff.old_path or diff.path
            ranges = [edit.old for edit in edits]
            for earlier in reversed(history.get(path, [])):
                ranges = trace_back(ranges, earlier)
            found[patch.name][path] = ranges
            history.setdefault(path, []).append(edits)
    return found


def find_uses(patches: Sequence[Patch]) -> dict[tuple[str, str], list[str]]:
    """Return (definer, user) -> names that the first adds and a later one writes.

    A hint for people, by spelling alone: what a patch may be needed for beyond its lines.
    """
    defined: list[tuple[str, set[str]]] = []
    uses: dict[tuple[str, str], list[str]] = {}
    for patch in patches:
        text = _text(patch, "+")
        words = set(re.findall(r"\w+", text))
        for name, names in defined:
            common = sorted(names & words)
            if common:
                uses[name, patch.name] = common
        new = set(DEFINITION.findall(text))
        known = {name for _, names in defined for name in names}
        defined.append((patch.name, new - known - set(re.findall(r"\w+", _text(patch, "- ")))))
    return uses


def _text(patch: Patch, ops: str) -> str:
    lines = (line for diff in patch.files for hunk in diff.hunks for line in hunk.lines)
    return b"".join(line.content for line in lines if line.op in ops).decode("utf-8", "replace")
