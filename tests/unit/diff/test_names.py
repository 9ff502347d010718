"""File names in a diff."""

from __future__ import annotations

import pytest

from vllm_patchkit.diff.names import quote_name, split_quoted

# What git prints for these names with core.quotePath=true (git ls-files, git 2.39).
QUOTED = [
    (b"plain name.py", b"plain name.py"),
    (b"tab\t", b'"tab\\t"'),
    (b"\a\b\n\v\f\r", b'"\\a\\b\\n\\v\\f\\r"'),
    (b'q"uote', b'"q\\"uote"'),
    (b"back\\slash", b'"back\\\\slash"'),
    (b"\x01\x1f\x7f", b'"\\001\\037\\177"'),
    ("é".encode(), b'"\\303\\251"'),
]


@pytest.mark.parametrize(("name", "quoted"), QUOTED)
def test_names_are_quoted_as_git_does(name: bytes, quoted: bytes):
    assert quote_name(name) == quoted


@pytest.mark.parametrize(("name", "quoted"), QUOTED[1:])
def test_quoted_names_are_read(name: bytes, quoted: bytes):
    """What follows the closing quote is given back."""
    assert split_quoted(quoted + b"\trest") == (name, b"\trest")


@pytest.mark.parametrize(
    "text", [b"plain", b'"open', b'"\\x41"', b'"\\777"', b'"\\1"', b'"trailing\\"', b""]
)
def test_what_is_not_quoted_well_is_not_read(text: bytes):
    assert split_quoted(text) is None
