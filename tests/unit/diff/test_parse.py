"""Diff text to values."""

from __future__ import annotations

import pytest

from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import Hunk, Line
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.errors import PatchFormatError

HUNK = b"@@ -1 +1 @@\n-a\n+b\n"
MARKS = b"--- a/x\n+++ b/x\n"
SIMPLE = b"diff --git a/x b/x\nindex 1234567..89abcde 100644\n" + MARKS + HUNK


def test_a_modification():
    """Names, modes, ids and hunks are read; the prefixes are taken off."""
    (diff,) = parse_diff(
        b"diff --git a/v/x.py b/v/x.py\nindex 1234567..89abcde 100644\n--- a/v/x.py\n+++ b/v/x.py\n"
        b"@@ -10,2 +10,3 @@ def f():\n context\n-old\n+new\n+newer\n"
    )
    assert (diff.old_path, diff.new_path, diff.path) == ("v/x.py", "v/x.py", "v/x.py")
    assert (diff.old_mode, diff.new_mode) == ("100644", "100644")
    assert (diff.old_blob, diff.new_blob) == ("1234567", "89abcde")
    assert diff.hunks == (
        Hunk(
            old_start=10,
            old_count=2,
            new_start=10,
            new_count=3,
            section=b"def f():",
            lines=(
                Line(" ", b"context\n"),
                Line("-", b"old\n"),
                Line("+", b"new\n"),
                Line("+", b"newer\n"),
            ),
        ),
    )
    assert diff.hunks[0].before == b"context\nold\n"
    assert diff.hunks[0].after == b"context\nnew\nnewer\n"


@pytest.mark.parametrize(
    ("header", "old", "new"),
    [
        (b"diff --git a/x b/x\nnew file mode 100644\nindex 0000000..e69de29\n", None, "x"),
        (b"diff --git a/x b/x\ndeleted file mode 100644\nindex e69de29..0000000\n", "x", None),
        (b"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n", "x", "y"),
        (b"diff --git a/x b/y\nsimilarity index 100%\ncopy from x\ncopy to y\n", "x", "y"),
        (b"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n", "x", "x"),
        (b"diff --git a/a b b/a b\nold mode 100644\nnew mode 100755\n", "a b", "a b"),
        (b"diff --git a/a b/c b/a b/c\nnew file mode 100644\n", None, "a b/c"),
        (b'diff --git "a/t\\ta\\342\\202\\254" "b/t\\ta\\342\\202\\254"\nnew file mode 100644\n',
         None, "t\ta\u20ac"),
        (b'diff --git a/x "b/\\"y"\nsimilarity index 90%\nrename from x\nrename to "\\"y"\n',
         "x", '"y'),
    ],
)  # fmt: skip
def test_headers_without_hunks(header: bytes, old: str | None, new: str | None):
    """Empty files, renames, copies and modes need no hunk; git's own text comes back."""
    (diff,) = parse_diff(header)
    assert (diff.old_path, diff.new_path) == (old, new)
    assert format_diff([diff]) == header


def test_names_that_are_not_utf8_survive():
    """Bytes outside UTF-8 become surrogates and come back as the same bytes."""
    text = b'diff --git "a/\\351" "b/\\351"\nnew file mode 100644\nindex 0000000..e69de29\n'
    (diff,) = parse_diff(text)
    assert diff.path == "\udce9"
    assert format_diff([diff]) == text


def test_no_newline_at_the_end():
    """The marker takes the line end off the line before it, on its side only."""
    hunk = b"@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"
    text = b"diff --git a/x b/x\n" + MARKS + hunk
    (diff,) = parse_diff(text)
    (hunk,) = diff.hunks
    assert (hunk.before, hunk.after) == (b"a\nb", b"a\nb\n")
    assert format_diff([diff]) == text


def test_content_is_bytes():
    """CRLF, bytes outside UTF-8, form feeds and lone CRs in content are kept."""
    body = b"@@ -1,2 +1,2 @@\n-\xff\xfe\x0c\r\n-one\rline\n+\x1b\x85\r\n+\xe2\x80\xa8\n"
    (diff,) = parse_diff(b"diff --git a/x b/x\n" + MARKS + body)
    assert diff.hunks[0].before == b"\xff\xfe\x0c\r\none\rline\n"
    assert diff.hunks[0].after == b"\x1b\x85\r\n\xe2\x80\xa8\n"


def test_lines_that_look_like_headers():
    """Inside a hunk only the counts decide what a line is."""
    body = b"@@ -1,3 +1,3 @@\n--- a/y\n-diff --git a/z b/z\n--\n+++ b/y\n+@@ -1 +1 @@\n+-- \n"
    (diff,) = parse_diff(b"diff --git a/x b/x\n" + MARKS + body)
    assert diff.hunks[0].before == b"-- a/y\ndiff --git a/z b/z\n-\n"
    assert diff.hunks[0].after == b"++ b/y\n@@ -1 +1 @@\n-- \n"


def test_an_empty_context_line_may_lack_its_space():
    """GNU diff --suppress-blank-empty writes it so, and mail programs strip it."""
    (diff,) = parse_diff(MARKS + b"@@ -1,2 +1,2 @@\n\n-a\n+b\n")
    assert diff.hunks[0].lines[0] == Line(" ", b"\n")


def test_a_mail_around_the_diff():
    """Header, prose, diffstat and signature are passed over."""
    mail = (
        b"From 0123 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH] x\n\n"
        b"--- not a header\n- a list\n+ of things\n---\n x | 2 +-\n 1 file changed\n\n"
        + SIMPLE
        + b"-- \n2.39.5\n\n"
    )
    assert parse_diff(mail) == parse_diff(SIMPLE)


def test_two_mails_in_one_file():
    other = SIMPLE.replace(b"/x", b"/y")
    mailbox = b"Subject: 1\n\n" + SIMPLE + b"-- \n2.39\n\nFrom 0 x\nSubject: 2\n\n" + other
    assert [diff.path for diff in parse_diff(mailbox)] == ["x", "y"]


@pytest.mark.parametrize(
    ("marks", "old", "new"),
    [
        (b"--- a/x\t2025-01-01 00:00:00.0 +0000\n+++ b/x\t2025-01-01 00:00:00.0 +0000\n", "x", "x"),
        (b"--- a/x.orig\n+++ b/x\n", "x", "x"),
        (b"--- /dev/null\n+++ b/x\n", None, "x"),
        (b"--- a/x\n+++ /dev/null\n", "x", None),
        (b"--- a/x\t1970-01-01 00:00:00.000000000 +0000\n+++ b/x\n", None, "x"),
        (b"--- a/x\t1969-12-31 19:00:00.000000000 -0500\n+++ b/x\n", None, "x"),
        (b"--- a/x\n+++ b/x\t1970-01-01 01:00:00.000000000 +0100\n", "x", None),
    ],
)
def test_plain_unified_diffs(marks: bytes, old: str | None, new: str | None):
    """Diffs of GNU diff: times behind the names, the epoch for a file that does not exist."""
    hunk = {(True, True): HUNK, (False, True): b"@@ -0,0 +1 @@\n+b\n"}.get(
        (old is not None, new is not None), b"@@ -1 +0,0 @@\n-a\n"
    )
    (diff,) = parse_diff(b"Only in b: z\n" + marks + hunk)
    assert (diff.old_path, diff.new_path) == (old, new)


def test_binary_changes_are_recognised():
    """They parse, with their text kept; hunks they have none."""
    literal = (
        b"diff --git a/x b/x\nindex 1234567..89abcde 100644\nGIT binary patch\n"
        b"literal 3\nKcmZSTE&u=l0RRA?\n\nliteral 2\nJcmZQzWB>sG0ssI2\n\n"
    )
    differ = b"diff --git a/y b/y\nindex 1234567..89abcde 100644\nBinary files a/y and b/y differ\n"
    first, second = parse_diff(literal + differ)
    assert first.binary
    assert second.binary
    assert first.hunks == second.hunks == ()
    assert format_diff([first, second]) == literal + differ


NAMES = [
    ("../x", "leaves the tree"),
    ("v/../../x", "leaves the tree"),
    ("/etc/passwd", "absolute"),
    ("v//x", "empty component"),
    ("./x", "empty component"),
    ("C:/x", "drive letter"),
    ("c:x", "drive letter"),
    (".git/config", ".git"),
    ("v/.GIT/hooks/x", ".git"),
    ("git~1/config", ".git"),
    (".git ./config", ".git"),
    ("v/x/", "empty component"),
]


@pytest.mark.parametrize(("name", "reason"), NAMES)
@pytest.mark.parametrize(
    "template",
    [
        "diff --git a/{0} b/{0}\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-a\n+b\n",
        "diff --git a/{0} b/{0}\nnew file mode 100644\n",
        "diff --git a/{0} b/{0}\nold mode 100644\nnew mode 100755\n",
        "diff --git a/x b/{0}\nsimilarity index 100%\nrename from x\nrename to {0}\n",
        "diff --git a/{0} b/x\nsimilarity index 100%\ncopy from {0}\ncopy to x\n",
        "--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-a\n+b\n",
    ],
    ids=["modify", "create", "mode", "rename", "copy", "plain"],
)
def test_names_that_escape_are_refused(template: str, name: str, reason: str):
    """Wherever a header can name a file, a hostile name is refused, with the reason."""
    with pytest.raises(PatchFormatError, match=r"refused.*" + reason.replace(".", r"\.")):
        parse_diff(template.format(name).encode())


@pytest.mark.parametrize(
    ("quoted", "reason"),
    [(r"a\\b", "backslash"), (r"a\000b", "NUL"), (r"\056\056/x", "leaves the tree")],
)
def test_names_that_escape_in_quotes_are_refused(quoted: str, reason: str):
    text = f'diff --git "a/{quoted}" "b/{quoted}"\nnew file mode 100644\n'
    with pytest.raises(PatchFormatError, match=reason):
        parse_diff(text.encode())


@pytest.mark.parametrize(
    "header",
    [
        "new file mode 120000\n",
        "deleted file mode 120000\n",
        "old mode 100644\nnew mode 120000\n",
        "new file mode 160000\n",
        "new file mode 040000\n",
        "new file mode 104755\n",
        "index 1234567..89abcde 120000\n" + MARKS.decode() + HUNK.decode(),
    ],
)
def test_modes_other_than_plain_files_are_refused(header: str):
    """Symbolic links, submodules, folders and set-uid files do not come out of a patch."""
    with pytest.raises(PatchFormatError, match=r"mode \d{6} is refused"):
        parse_diff(f"diff --git a/x b/x\n{header}".encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MARKS + b"@@ -1,2 +1 @@\n-a\n+b\n", "ends inside the hunk of line 3"),
        (MARKS + b"@@ -1,2 +1 @@\n-a\n+b\nFrom\n", "does not have the lines that its header"),
        (MARKS + b"@@ -1 +1 @@\n-a\n+b\n+c\n", ":6: the hunk before has more lines"),
        (MARKS + b"@@ -1 +1 @@\n-a\n+b\n c\n", "more lines"),
        (MARKS + b"@@ -1 +1 @@\n-a\n-b\n", "does not have the lines"),
        (MARKS + b"@@ -1 +1 @@\n-a\n+b", "in the middle of a line"),
        (MARKS + b"@@ -0 +1 @@\n-a\n+b\n", "counts lines from 0"),
        (MARKS + b"@@ -0,0 +0,0 @@\n", "an empty hunk"),
        (MARKS + b"@@ -a +b @@\n", "malformed hunk header"),
        (MARKS + b"@@ -1 +1 @@@\n-a\n+b\n", "malformed hunk header"),
        (MARKS + b"@@ -99999999999 +1 @@\n-a\n+b\n", "malformed hunk header"),
        (MARKS + b"@@ -5 +5 @@\n-a\n+b\n@@ -1 +1 @@\n-a\n+b\n", "out of order"),
        (MARKS + b"@@ -1 +1 @@\n\\ No newline at end of file\n-a\n+b\n", "does not follow a line"),
        (MARKS + b"@@ -1,2 +1 @@\n-a\n\\ No newline at\n-b\n+c\n", "without a line end"),
        (
            MARKS + b"@@ -1 +1 @@\n-a\n\\ No newline\n+b\n@@ -5 +5 @@\n-c\n+d\n",
            ":7: a hunk after the line that ends the file",
        ),
        (b"diff --git a/x b/x\n" + HUNK, "a hunk without '--- '"),
        (HUNK, "a hunk without a file header"),
        (b"diff --git a/x b/x\n", "changes nothing"),
        (b"diff --git a/x b/x\n--- a/x\n+++ b/x\n", "no hunk follows"),
        (b"diff --git a/x b/x\n--- a/x\n@@ -1 +1 @@\n", r"without a '\+\+\+ ' line"),
        (b"diff --git a/x b/y\n--- a/x\n+++ b/x\n" + HUNK, "disagree"),
        (b"diff --git a/x b/x\n--- a/y\n+++ b/y\n" + HUNK, "disagree"),
        (b"diff --git a/x b/x\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+b\n", "disagree"),
        (b"diff --git a/x b/x\nnew file mode 100644\n" + MARKS + HUNK, "disagree"),
        (b"diff --git a/x\nnew file mode 100644\n", "cannot be read"),
        (b"diff --git a/x b/x\nold mode 100644\n" + MARKS + HUNK, "come together"),
        (b"diff --git a/x b/x\nindex 12..34\n" + MARKS + HUNK, "two blob ids"),
        (b"diff --git a/x b/x\nindex 1234567..89abcdef\nindex 1234567..89abcdef\n", "a second"),
        (b"diff --git a/x b/y\nsimilarity index x%\nrename from x\nrename to y\n", "percentage"),
        (b"diff --git a/x b/x\r\n--- a/x\r\n+++ b/x\r\n" + HUNK, "CRLF"),
        (b"--- a/x\r\n+++ b/x\r\n" + HUNK, "CRLF"),
        (b"--- /dev/null\n+++ /dev/null\n" + HUNK, "both names"),
        (b"diff --cc x\nindex 1,2..3\n", "combined diff"),
        (b"Binary files a/x and b/x differ\n", "without its content"),
        (b"diff --git a/x b/x\nGIT binary patch\nliteral 3\nKcmZ\n", "inside a binary change"),
    ],
)  # fmt: skip
def test_malformed_diffs_are_refused(text: bytes, message: str):
    """No part of a diff is lost without a word; the error names source and line."""
    with pytest.raises(PatchFormatError, match=message) as error:
        parse_diff(text, source="0001-x.patch")
    assert error.value.message.startswith("0001-x.patch:")


@pytest.mark.parametrize(("strip", "path"), [(0, "a/v/x"), (1, "v/x"), (2, "x")])
def test_strip(strip: int, path: str):
    """As many components go as asked; a rename's names have no prefix to begin with."""
    text = b"diff --git a/v/x a/v/x\n--- a/v/x\n+++ a/v/x\n" + HUNK
    assert parse_diff(text, strip=strip)[0].path == path


def test_strip_more_than_there_is():
    """A name with too few components is empty, and refused as such."""
    with pytest.raises(PatchFormatError, match="empty"):
        parse_diff(SIMPLE, strip=3)


def test_text_without_a_diff():
    """There is nothing to find, and nothing to complain about."""
    assert parse_diff(b"") == ()
    assert parse_diff(b"Subject: x\n\njust words\n--- \n") == ()
