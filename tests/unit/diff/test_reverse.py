"""Reversed diffs."""

from __future__ import annotations

import pytest

from support.stacks import make_diff
from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.errors import HunkMismatch, PatchFormatError

OLD = {"changed": b"1\n2\n3\n", "gone": b"x\n"}
NEW = {"changed": b"1\ntwo\n3\n", "new": b"y\n"}


def test_reverse_is_the_diff_the_other_way_round():
    """Ours is, byte for byte, what a diff between the exchanged trees is."""
    reversed_files = reverse_diff(parse_diff(make_diff(OLD, NEW)))
    there = format_diff(sorted(reversed_files, key=lambda diff: diff.path))
    assert there == make_diff(NEW, OLD)


def test_revert_is_apply_of_the_reverse():
    files = reverse_diff(parse_diff(make_diff(OLD, NEW)))
    assert apply_diff(files, NEW.get) == {"changed": OLD["changed"], "gone": b"x\n", "new": None}


def test_revert_refuses_edited_files():
    files = reverse_diff(parse_diff(make_diff(OLD, NEW)))
    edited = {**NEW, "changed": b"1\ntwo\n3\nedited\n"}
    with pytest.raises(HunkMismatch, match="changed: the patch was cut from blob"):
        apply_diff(files, edited.get)


def test_a_copy_is_taken_back_by_deleting_it():
    """The copy must be what the patch left; no diff can say this, so it has no text."""
    text = (
        b"diff --git a/x b/y\nsimilarity index 50%\ncopy from x\ncopy to y\n"
        b"--- a/x\n+++ b/y\n@@ -1,2 +1,2 @@\n 1\n-2\n+two\n"
    )
    files = reverse_diff(parse_diff(text))
    assert apply_diff(files, {"x": b"1\n2\n", "y": b"1\ntwo\n"}.get) == {"y": None}
    with pytest.raises(HunkMismatch, match="does not match"):
        apply_diff(files, {"x": b"1\n2\n", "y": b"1\nedited\n"}.get)
    with pytest.raises(ValueError, match="reverse of a copy has no text: y"):
        format_diff(files)


def test_a_mode_change_goes_back():
    (diff,) = reverse_diff(parse_diff(b"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n"))
    assert (diff.old_mode, diff.new_mode) == ("100755", "100644")


def test_binary_changes_cannot_be_reversed():
    text = b"diff --git a/x b/x\nindex 1234567..89abcde 100644\nBinary files a/x and b/x differ\n"
    with pytest.raises(PatchFormatError, match="x: a binary change cannot be reversed"):
        reverse_diff(parse_diff(text))
