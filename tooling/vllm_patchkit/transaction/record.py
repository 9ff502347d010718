"""Changing single rows of an installed ``RECORD``. Pure; every other byte stays as it was.

The format is https://packaging.python.org/en/latest/specifications/recording-installed-packages/:
CSV rows of path, hash and size. Installers differ in row order and line ends (pip writes CRLF, uv
LF), which is why rows are edited and the file is never written anew.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

QUOTED = re.compile(rb'"((?:[^"]|"")*)"')


def record_row(path: str, content: bytes) -> bytes:
    """Return the row for a file, without a line end.

    >>> record_row("a,b.py", b"")
    b'"a,b.py",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0'
    """
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{_quoted(path)},sha256={digest},{len(content)}".encode()


def update_record(record: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """Return RECORD with the rows of changed files replaced, added or (for None) taken out.

    New rows go before the row of RECORD itself, which installers keep last, in sorted order.
    """
    rows = record.splitlines(keepends=True)
    end = b"\r\n" if rows and rows[0].endswith(b"\r\n") else b"\n"
    seen: set[str] = set()
    kept: list[bytes] = []
    own = None
    for row in rows:
        path = row_path(row)
        if path.endswith(".dist-info/RECORD"):
            own = len(kept)
        if path not in changes:
            kept.append(row)
            continue
        seen.add(path)
        content = changes[path]
        if content is not None:
            kept.append(record_row(path, content) + end)
    if kept and not kept[-1].endswith(b"\n"):
        kept[-1] += end
    added = sorted(path for path, content in changes.items() if content is not None)
    new = [record_row(path, changes[path] or b"") + end for path in added if path not in seen]
    at = len(kept) if own is None or own != len(kept) - 1 else own
    return b"".join(kept[:at] + new + kept[at:])


def row_path(row: bytes) -> str:
    """Return the path of a row; a path with a comma or a quotation mark is quoted in CSV."""
    quoted = QUOTED.match(row)
    path = quoted[1].replace(b'""', b'"') if quoted else row.partition(b",")[0].rstrip(b"\r\n")
    return path.decode("utf-8", "surrogateescape")


def _quoted(path: str) -> str:
    if any(mark in path for mark in ',"\r\n'):
        return '"' + path.replace('"', '""') + '"'
    return path
