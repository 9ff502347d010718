"""Values to diff text."""

from __future__ import annotations

from vllm_patchkit.diff.format import format_diff, format_hunk
from vllm_patchkit.diff.model import FileDiff, Hunk, Line
from vllm_patchkit.diff.parse import parse_diff


def make_hunk(*lines: tuple[str, bytes], section: bytes = b"") -> Hunk:
    ops = [op for op, _ in lines]
    return Hunk(
        old_start=1,
        old_count=sum(op != "+" for op in ops),
        new_start=1,
        new_count=sum(op != "-" for op in ops),
        section=section,
        lines=tuple(Line(op, content) for op, content in lines),  # type: ignore[arg-type]
    )


def test_counts_of_one_are_left_out():
    """git writes ``-1`` for ``-1,1``."""
    hunk = make_hunk(("-", b"a\n"), ("+", b"b\n"), section=b"class X:")
    assert format_hunk(hunk) == b"@@ -1 +1 @@ class X:\n-a\n+b\n"


def test_a_line_without_end_is_marked():
    hunk = make_hunk(("-", b"a"), ("+", b"b"))
    assert format_hunk(hunk) == (
        b"@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
    )


def test_a_name_with_a_space_ends_in_a_tab():
    """As git does it, so that GNU patch finds where the name ends."""
    diff = FileDiff(old_path="a b", new_path="a b", hunks=(make_hunk(("+", b"x\n")),))
    text = format_diff([diff])
    assert b"--- a/a b\t\n+++ b/a b\t\n" in text
    assert parse_diff(text) == (diff,)


def test_a_plain_diff_becomes_gits():
    """What another program wrote comes out in git's form, without what it did not say."""
    plain = b"--- x.orig\t2025-01-01\n+++ x\t2025-01-02\n@@ -1,1 +1,1 @@\n-a\n+b\n"
    assert format_diff(parse_diff(plain, strip=0)) == (
        b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    )
