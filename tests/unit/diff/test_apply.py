"""Diffs applied to bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.stacks import blob, make_diff
from vllm_patchkit.diff.apply import apply_diff, apply_file
from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.errors import HunkMismatch, PatchFormatError

OLD = b"".join(b"line %d\n" % n for n in range(1, 21))
NEW = OLD.replace(b"line 3\n", b"line three\nline 3.5\n").replace(b"line 18\n", b"")


def parse_one(text: bytes) -> FileDiff:
    (diff,) = parse_diff(text)
    return diff


def without_ids(diff: FileDiff) -> FileDiff:
    return replace(diff, old_blob=None, new_blob=None)


@pytest.fixture
def diff() -> FileDiff:
    """A change in two hunks."""
    diff = parse_one(make_diff({"x": OLD}, {"x": NEW}))
    assert len(diff.hunks) == 2
    return diff


def test_apply(diff: FileDiff):
    assert apply_file(diff, OLD) == NEW


def test_create_and_delete():
    """A new file needs an empty place; a deleted one leaves nothing."""
    create = parse_one(make_diff({}, {"x": NEW}))
    delete = parse_one(make_diff({"x": OLD}, {}))
    assert apply_file(create, None) == NEW
    assert apply_file(delete, OLD) is None
    with pytest.raises(HunkMismatch, match="x: the patch adds this file, but it exists already"):
        apply_file(create, b"")
    with pytest.raises(HunkMismatch, match="x: the file does not exist"):
        apply_file(delete, None)


def test_an_empty_file_comes_and_goes():
    text = b"diff --git a/x b/x\nnew file mode 100644\nindex 0000000..e69de29\n"
    assert apply_file(parse_one(text), None) == b""
    text = b"diff --git a/x b/x\ndeleted file mode 100644\nindex e69de29..0000000\n"
    assert apply_file(parse_one(text), b"") is None


def test_an_offset_is_refused(diff: FileDiff):
    """The context must stand at its line; the message says what was expected and found there."""
    with pytest.raises(HunkMismatch) as error:
        apply_file(without_ids(diff), b"moved\n" + OLD)
    assert error.value.message == (
        "x: hunk 1 (-1,6) does not match at line 1: expected 'line 1\\n', found 'moved\\n'"
    )
    assert "give the base it was cut from" in (error.value.hint or "")


def test_the_message_names_the_line_in_the_second_hunk(diff: FileDiff):
    changed = OLD.replace(b"line 19\n", b"line nineteen\n")
    with pytest.raises(HunkMismatch, match=r"hunk 2 .* at line 19: expected 'line 19\\n', found"):
        apply_file(without_ids(diff), changed)


def test_a_file_that_ends_early(diff: FileDiff):
    with pytest.raises(HunkMismatch, match=r"found the end of the file \(4 lines\)"):
        apply_file(without_ids(diff), OLD[: OLD.index(b"line 5")])


def test_a_missing_line_end_counts(diff: FileDiff):
    """A last line with and without its line end are different lines."""
    with pytest.raises(HunkMismatch, match="expected 'line 20\\\\n', found 'line 20'"):
        apply_file(without_ids(diff), OLD[:-1])


def test_no_context_after_a_change_means_the_end_of_the_file():
    text = b"--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n a\n b\n+c\n"
    assert apply_file(parse_one(text), b"a\nb\n") == b"a\nb\nc\n"
    with pytest.raises(HunkMismatch, match="ends at line 2, this one has 3 lines"):
        apply_file(parse_one(text), b"a\nb\nmore\n")


def test_hunks_without_context_go_by_line_number():
    """A -U0 diff holds lines only; an empty old range names the line before it."""
    text = b"--- a/x\n+++ b/x\n@@ -2,0 +3 @@\n+two and a half\n@@ -4 +4,0 @@\n-4\n"
    assert apply_file(parse_one(text), b"1\n2\n3\n4\n5\n") == b"1\n2\ntwo and a half\n3\n5\n"
    with pytest.raises(HunkMismatch, match="the end of the file"):
        apply_file(parse_one(text), b"1\n")


def test_a_hunk_that_lands_elsewhere_than_it_says_is_refused():
    text = b"--- a/x\n+++ b/x\n@@ -2,0 +9 @@\n+new\n"
    with pytest.raises(HunkMismatch, match=r"lands on line 9, but .* line 3"):
        apply_file(parse_one(text), b"1\n2\n")


def test_a_line_without_end_cannot_have_others_behind_it():
    text = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+one\n\\ No newline at end of file\n"
    with pytest.raises(HunkMismatch, match="ends the file where more lines follow"):
        apply_file(parse_one(text), b"1\n2\n")


def test_a_deletion_must_take_everything():
    text = b"--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n"
    with pytest.raises(HunkMismatch, match="leaves 2 bytes"):
        apply_file(parse_one(text), b"1\n2\n")


def test_blob_ids_prove_the_base(diff: FileDiff):
    """A byte outside every hunk's context is noticed too."""
    other = OLD.replace(b"line 10\n", b"line ten\n")
    with pytest.raises(HunkMismatch) as error:
        apply_file(diff, other)
    assert error.value.message == (
        f"x: the patch was cut from blob {blob(OLD)}, but this is blob {blob(other)}"
    )
    assert apply_file(without_ids(diff), other) == NEW.replace(b"line 10\n", b"line ten\n")


def test_blob_ids_prove_the_result(diff: FileDiff):
    """A hunk that was edited by hand no longer gives the recorded result."""
    forged = replace(diff, new_blob="1" * 40)
    with pytest.raises(HunkMismatch, match=r"x: the patch leaves blob 1{40}, but this is blob"):
        apply_file(forged, OLD)


def test_abbreviated_blob_ids_are_checked_as_far_as_they_go(diff: FileDiff):
    short = replace(diff, old_blob=blob(OLD)[:7], new_blob=blob(NEW)[:7])
    assert apply_file(short, OLD) == NEW
    with pytest.raises(HunkMismatch, match="was cut from blob"):
        apply_file(replace(short, old_blob="0123456"), OLD)


def test_binary_changes_are_refused():
    text = b"diff --git a/x b/x\nindex 1234567..89abcde 100644\nBinary files a/x and b/x differ\n"
    with pytest.raises(PatchFormatError, match="x: a binary change cannot be applied"):
        apply_file(parse_one(text), b"\0")


def test_a_rename_moves_and_a_copy_stays():
    tree = {"from": OLD, "other": OLD}
    text = (
        b"diff --git a/other b/copy\nsimilarity index 100%\ncopy from other\ncopy to copy\n"
        b"diff --git a/from b/to\nsimilarity index 100%\nrename from from\nrename to to\n"
    )
    assert apply_diff(parse_diff(text), tree.get) == {"copy": OLD, "from": None, "to": OLD}


def test_names_may_be_exchanged():
    """Both renames take their source as it was before."""
    tree = {"x": b"1\n", "y": b"2\n"}
    text = (
        b"diff --git a/y b/x\nsimilarity index 100%\nrename from y\nrename to x\n"
        b"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"
    )
    assert apply_diff(parse_diff(text), tree.get) == {"x": b"2\n", "y": b"1\n"}


def test_a_name_may_be_taken_again():
    """A file may be created where another one was moved away, in either order."""
    rename = b"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"
    create = make_diff({}, {"x": NEW})
    for text in (rename + create, create + rename):
        assert apply_diff(parse_diff(text), {"x": OLD}.get) == {"x": NEW, "y": OLD}


def test_a_rename_does_not_overwrite():
    text = b"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"
    with pytest.raises(HunkMismatch, match="y: the patch adds this file, but it exists already"):
        apply_diff(parse_diff(text), {"x": OLD, "y": NEW}.get)


def test_later_diffs_see_what_earlier_ones_left():
    """Two patches in one file apply one on the other."""
    text = make_diff({"x": OLD}, {"x": NEW}) + make_diff({"x": NEW}, {"x": b"end\n"})
    assert apply_diff(parse_diff(text), {"x": OLD}.get) == {"x": b"end\n"}


@pytest.mark.parametrize("path", ["../x", "/x", "a\\b", ".git/x", "C:/x"])
def test_values_with_hostile_paths_are_refused_too(diff: FileDiff, path: str):
    """The names are checked again where they are used: a value need not come from the parser."""
    read: list[str] = []
    with pytest.raises(PatchFormatError, match="refused"):
        apply_diff([replace(diff, old_path=path, new_path=path)], lambda name: read.append(name))
    assert read == []
