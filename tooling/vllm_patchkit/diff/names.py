"""File names as git writes them into a diff: plain, or C-quoted."""

from __future__ import annotations

import re

ESCAPES = {
    0x07: b"\\a",
    0x08: b"\\b",
    0x09: b"\\t",
    0x0A: b"\\n",
    0x0B: b"\\v",
    0x0C: b"\\f",
    0x0D: b"\\r",
    0x22: b'\\"',
    0x5C: b"\\\\",
}
UNESCAPES = {escape[1:]: bytes([byte]) for byte, escape in ESCAPES.items()}
QUOTED = re.compile(rb'"(?:[^"\\]|\\[abtnvfr"\\]|\\[0-3][0-7]{2})*"')
ESCAPED = re.compile(rb'\\([abtnvfr"\\]|[0-3][0-7]{2})')


def quote_name(name: bytes) -> bytes:
    """Return ``name`` as git writes it with ``core.quotePath`` at its default (true).

    Names with control characters, quotes, backslashes or bytes outside ASCII come in double
    quotes with C escapes; others as they are. Source: git's ``quote.c``.
    """
    quoted = b"".join(map(_quote_byte, name))
    return name if quoted == name else b'"' + quoted + b'"'


def _quote_byte(byte: int) -> bytes:
    if byte in ESCAPES:
        return ESCAPES[byte]
    if byte < 0x20 or byte >= 0x7F:
        return b"\\%03o" % byte
    return bytes([byte])


def split_quoted(text: bytes) -> tuple[bytes, bytes] | None:
    """Return the name in the quotes that ``text`` starts with, and what follows them.

    None where ``text`` does not start with a well-formed quoted name.
    """
    match = QUOTED.match(text)
    if match is None:
        return None
    name = ESCAPED.sub(lambda found: _unescape(found[1]), match[0][1:-1])
    return name, text[match.end() :]


def _unescape(escape: bytes) -> bytes:
    return UNESCAPES[escape] if escape in UNESCAPES else bytes([int(escape, 8)])


def decode_name(name: bytes) -> str:
    """Return a name as text; bytes that are not UTF-8 survive as surrogates."""
    return name.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes:
    """Return the bytes of a name, the inverse of :func:`decode_name`."""
    return name.encode("utf-8", "surrogateescape")
