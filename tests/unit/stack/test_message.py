"""Mail headers; tests/property/test_mail.py compares them with git's."""

from __future__ import annotations

import pytest

from vllm_patchkit.stack.message import decode_words, parse_address, parse_message

MAIL = b"""\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: =?UTF-8?q?J=C3=BCrgen?= <j@example.org>
Date: Sun, 22 Nov 2026 12:00:00 +0000
Subject: [PATCH 3/20] [Core] A subject that is
 folded
MIME-Version: 1.0

The need.

More prose: with a colon.

Origin: upstream, https://example.org/1
Bug: #1
Bug: #2
 continued
Signed-off-by: J <j@example.org>
---
 x | 2 +-

diff --git a/x b/x
"""


def test_a_mail():
    """Headers are unfolded and decoded; only the [PATCH n/m] tag goes off the subject."""
    message = parse_message(MAIL)
    assert (message.author, message.email) == ("J\u00fcrgen", "j@example.org")
    assert message.date == "Sun, 22 Nov 2026 12:00:00 +0000"
    assert message.subject == "[Core] A subject that is folded"
    assert message.body == "The need.\n\nMore prose: with a colon."
    assert message.trailers == (
        ("Origin", "upstream, https://example.org/1"),
        ("Bug", "#1"),
        ("Bug", "#2 continued"),
        ("Signed-off-by", "J <j@example.org>"),
    )
    assert message.trailer("bug") == "#1"
    assert message.trailer("Forwarded") is None


def test_crlf_in_the_header_is_read():
    assert parse_message(MAIL.replace(b"\n", b"\r\n")) == parse_message(MAIL)


def test_without_a_separator_the_diff_ends_the_message():
    """--no-stat leaves no ``---`` line."""
    mail = MAIL.replace(b"---\n x | 2 +-\n", b"")
    assert parse_message(mail) == parse_message(MAIL)


def test_a_bare_diff_has_no_message():
    message = parse_message(b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    assert (message.author, message.subject, message.body, message.trailers) == ("", "", "", ())


def test_a_last_paragraph_of_prose_is_no_trailer():
    message = parse_message(b"Subject: x\n\nNote: one\nbut this line is prose\n\n---\n")
    assert message.trailers == ()
    assert message.body == "Note: one\nbut this line is prose"


def test_the_author_may_stand_in_the_body():
    """git format-patch --from puts the author there; git am takes it from there."""
    message = parse_message(b"From: Me <me@x>\nSubject: s\n\nFrom: You <you@x>\n\nbody\n---\n")
    assert (message.author, message.email, message.body) == ("You", "you@x", "body")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A B <a@b>", ("A B", "a@b")),
        ('"B, A" <a@b>', ("B, A", "a@b")),
        ('"Q \\"x\\" \\\\" <a@b>', ('Q "x" \\', "a@b")),
        ("<a@b>", ("", "a@b")),
        ("a@b", ("", "a@b")),
        ("", ("", "")),
    ],
)
def test_addresses(text: str, expected: tuple[str, str]):
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?Q?a_b=3D?= c", "a b= c"),
        ("=?utf-8?B?w7w=?=", "\u00fc"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=  =?utf-8?q?c?=", "abc"),
        # One character cut between two words, as some mail programs do.
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "\u00fc"),
        ("=?latin-1?q?=FC?= =?utf-8?q?=C3=BC?=", "\u00fc\u00fc"),
        ("=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
        ("=?utf-8?b?!?=", ""),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
    ],
)
def test_encoded_words(text: str, expected: str):
    """RFC 2047, section 8, and what cannot be decoded stays."""
    assert decode_words(text) == expected
