"""The series file and the names of patches."""

from __future__ import annotations

import pytest

from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.series import format_series, parse_series, patch_name, patch_number


def test_comments_and_empty_lines_are_passed_over():
    text = b"# the order\n\n0001-a.patch\n0002-b.patch # why\n"
    assert parse_series(text) == ("0001-a.patch", "0002-b.patch")


def test_format_undoes_parse():
    names = ("0001-a.patch", "0002-b.patch")
    assert parse_series(format_series(names)) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0001-a.patch -p0\n", "series:1: '-p0' after the name"),
        (b"\n../0001-a.patch\n", "series:2: '../0001-a.patch' is not named NNNN-subject.patch"),
        (b"fix.patch\n", "series:1: 'fix.patch' is not named"),
        (b"\xff\n", "series is not UTF-8"),
    ],
)
def test_what_is_no_series_is_refused(text: bytes, message: str):
    with pytest.raises(StackError) as error:
        parse_series(text)
    assert error.value.message.startswith(message)


def test_patch_number():
    assert patch_number("0042-x.patch") == 42
    with pytest.raises(ValueError, match="not a patch file's name"):
        patch_number("42-x.patch")


@pytest.mark.parametrize(
    ("subject", "name"),
    # As git format-patch 2.39 names them.
    [
        ("[Core] Run requests in lock-step", "0001-Core-Run-requests-in-lock-step.patch"),
        ("A.b..c... ", "0001-A.b.c.patch"),
        ("ends with dots...", "0001-ends-with-dots.patch"),
        ("_under_", "0001-_under_.patch"),
        ("日本", "0001-.patch"),
        ("x" * 80, "0001-" + "x" * 52 + ".patch"),
    ],
)
def test_patch_name(subject: str, name: str):
    assert patch_name(1, subject) == name
