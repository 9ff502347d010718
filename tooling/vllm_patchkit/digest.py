"""Digests of file contents, as the locks and as git write them."""

from __future__ import annotations

import hashlib


def sha256_hex(data: bytes) -> str:
    """Return the sha256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_or_none(content: bytes | None) -> str | None:
    """Return the sha256 of a file's content; None where there is no file."""
    return None if content is None else sha256_hex(content)


def blob_id(data: bytes) -> str:
    """Return the id that git gives a blob of these bytes (SHA-1 object format, 40 hex digits).

    Source: Pro Git, "Git Internals - Git Objects": ``sha1("blob <size>\\0" + data)``.
    """
    header = b"blob %d\0" % len(data)
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()
