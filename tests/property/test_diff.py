"""What holds for every diff: formatting, reversing and applying undo or agree with each other."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vllm_patchkit.diff.apply import apply_diff, apply_file
from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import FileDiff, Hunk, Line
from vllm_patchkit.diff.names import decode_name, encode_name, quote_name, split_quoted
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.diff.paths import path_fault
from vllm_patchkit.diff.reverse import reverse_diff, reverse_file
from vllm_patchkit.digest import blob_id
from vllm_patchkit.errors import HunkMismatch, PatchFormatError

ODD_LINES = [
    b"",
    b"x",
    b" ",
    b"\r",
    b"-- ",
    b"--- a/x",
    b"+++ b/x",
    b"@@ -1 +1 @@",
    b"\\ No",
    b"\xff",
]
LINE = st.one_of(st.sampled_from(ODD_LINES), st.binary(max_size=5).filter(lambda b: b"\n" not in b))
TEXT = st.builds(
    lambda lines, end: b"\n".join(lines) + (b"\n" if lines and end else b""),
    st.lists(LINE, max_size=25),
    st.booleans(),
)
NAME = st.binary(min_size=1, max_size=12).map(decode_name).filter(lambda n: path_fault(n) is None)


def lines_of(text: bytes) -> list[bytes]:
    parts = text.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def make_hunks(old: bytes, new: bytes, context: int) -> tuple[Hunk, ...]:
    """Return the hunks between two texts, found by difflib."""
    before, after = lines_of(old), lines_of(new)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return tuple(
        make_hunk(group, before, after)
        for group in matcher.get_grouped_opcodes(context)
        if any(tag != "equal" for tag, *_ in group)
    )


Opcode = tuple[str, int, int, int, int]


def make_hunk(group: Sequence[Opcode], before: list[bytes], after: list[bytes]) -> Hunk:
    lines: list[Line] = []
    for tag, i, j, k, m in group:
        if tag == "equal":
            lines += [Line(" ", line) for line in before[i:j]]
        else:
            lines += [Line("-", line) for line in before[i:j]]
            lines += [Line("+", line) for line in after[k:m]]
    old_count, new_count = group[-1][2] - group[0][1], group[-1][4] - group[0][3]
    return Hunk(
        old_start=group[0][1] + (old_count > 0),
        old_count=old_count,
        new_start=group[0][3] + (new_count > 0),
        new_count=new_count,
        section=b"",
        lines=tuple(lines),
    )


@st.composite
def edits(draw: st.DrawFn) -> tuple[FileDiff, bytes | None, bytes | None]:
    """A diff of one file and the file's content before and after it."""
    old: bytes | None = draw(st.one_of(st.none(), TEXT))
    new: bytes | None = draw(st.one_of(st.none(), TEXT)) if old is not None else draw(TEXT)
    assume(old != new)
    name = draw(NAME)
    diff = FileDiff(
        old_path=None if old is None else name,
        new_path=None if new is None else name,
        hunks=make_hunks(old or b"", new or b"", draw(st.integers(0, 4))),
        old_mode=None if old is None else "100644",
        new_mode=None if new is None else "100644",
        old_blob="0" * 40 if old is None else blob_id(old),
        new_blob="0" * 40 if new is None else blob_id(new),
    )
    return diff, old, new


@given(edits())
def test_apply_makes_the_new_file_and_its_reverse_the_old_one(edit):
    """Apply then revert restores every byte."""
    diff, old, new = edit
    assert apply_file(diff, old) == new
    assert apply_file(reverse_file(diff), new) == old


@given(edits())
def test_parse_undoes_format(edit):
    """What is formatted is parsed to the same value, whatever the lines look like."""
    diff, _, _ = edit
    assert parse_diff(format_diff([diff])) == (diff,)


@given(st.lists(edits(), min_size=1, max_size=4))
def test_reverse_is_its_own_inverse(items):
    files = tuple(diff for diff, _, _ in items)
    assert reverse_diff(reverse_diff(files)) == files


@given(edits(), TEXT)
def test_apply_accepts_nothing_but_the_bytes_it_was_cut_from(edit, other):
    """With full blob ids, any other content is refused."""
    diff, old, _ = edit
    assume(old is not None and other != old)
    try:
        apply_file(diff, other)
    except HunkMismatch:
        return
    raise AssertionError("a diff was applied to bytes that it was not cut from")


@given(edits())
def test_parse_finds_the_diff_inside_a_mail(edit):
    """Headers, prose, a diffstat and a signature around the diff change nothing."""
    diff, _, _ = edit
    head = b"From: A <a@b>\nSubject: x\n\n - prose\n+ prose\n\n---\n x | 1 +\n\n"
    assert parse_diff(head + format_diff([diff]) + b"-- \n2.39.5\n\n") == (diff,)


@given(st.binary(max_size=40))
def test_quoted_names_come_back(name):
    """Every name survives quoting; git quotes no name that needs none."""
    quoted = quote_name(name)
    if quoted == name:
        assert not any(byte < 0x20 or byte > 0x7E or byte in b'"\\' for byte in name)
    else:
        assert split_quoted(quoted + b" rest") == (name, b" rest")
    assert encode_name(decode_name(name)) == name


@settings(max_examples=400)
@given(st.data())
def test_damaged_patches_are_refused_or_still_exact(data):
    """One damaged spot gives a PatchFormatError, a HunkMismatch or a diff that applies; never
    another exception."""
    diff, old, _ = data.draw(edits())
    text = bytearray(format_diff([diff]))
    place = data.draw(st.integers(0, max(len(text) - 1, 0)))
    size = data.draw(st.integers(0, 12))
    text[place : place + size] = data.draw(
        st.one_of(
            st.binary(max_size=6), st.sampled_from([b"\n", b"@@ -0,1 +1 @@\n", b"/../", b"-1"])
        )
    )
    try:
        files = parse_diff(bytes(text))
        result = apply_diff(files, lambda _: old)
    except (PatchFormatError, HunkMismatch):
        return
    assert all(path_fault(path) is None for path in result)


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused(data):
    """Arbitrary input raises nothing but PatchFormatError."""
    try:
        parse_diff(data)
    except PatchFormatError:
        return
