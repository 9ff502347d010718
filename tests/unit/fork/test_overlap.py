"""Line ranges followed through patches; difflib is the oracle."""

from __future__ import annotations

import difflib

from hypothesis import given, settings
from hypothesis import strategies as st

from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.fork.overlap import Edit, Range, edits_of, follow, trace_back


def edits_between(before: list[str], after: list[str]) -> list[Edit]:
    lines = difflib.unified_diff(before, after, "a/x", "b/x")
    text = "".join(lines)
    return edits_of(parse_diff(text.encode())[0]) if text else []


def test_edits_of_a_hunk() -> None:
    before = [f"{number}\n" for number in range(10)]
    after = [*before[:2], "new\n", *before[2:6], *before[7:]]
    assert edits_between(before, after) == [
        Edit(Range(2, 2), Range(2, 3)),
        Edit(Range(6, 7), Range(7, 7)),
    ]


LINES = st.lists(st.integers(0, 30), min_size=1, max_size=25, unique=True)


@settings(max_examples=200)
@given(before=LINES, after=LINES, start=st.integers(0, 24), size=st.integers(1, 6))
def test_followed_lines_are_the_same_lines(
    before: list[int], after: list[int], start: int, size: int
) -> None:
    """Each line (unique, so recognisable) that survives is found again, and no other."""
    old, new = [f"{n}\n" for n in before], [f"{n}\n" for n in after]
    edits = edits_between(old, new)
    gone = {line for edit in edits for line in old[edit.old.start : edit.old.end]}
    item = Range(min(start, len(old) - 1), min(start + size, len(old)))
    found = [line for piece in follow([item], edits) for line in new[piece.start : piece.end]]
    assert found == [line for line in old[item.start : item.end] if line not in gone]


@settings(max_examples=100)
@given(before=LINES, after=LINES, start=st.integers(0, 24), size=st.integers(1, 6))
def test_traced_lines_include_those_that_were_there(
    before: list[int], after: list[int], start: int, size: int
) -> None:
    old, new = [f"{n}\n" for n in before], [f"{n}\n" for n in after]
    edits = edits_between(old, new)
    fresh = {line for edit in edits for line in new[edit.new.start : edit.new.end]}
    item = Range(min(start, len(new) - 1), min(start + size, len(new)))
    pieces = trace_back([item], edits)
    found = {line for piece in pieces for line in old[piece.start : piece.end]}
    assert {line for line in new[item.start : item.end] if line not in fresh} <= found


def test_ranges_that_touch_or_are_near() -> None:
    assert Range(2, 4).touches(Range(4, 4))
    assert not Range(2, 4).touches(Range(5, 6))
    assert Range(2, 4).is_near(Range(6, 7))
    assert not Range(2, 4).is_near(Range(7, 8))
