"""``RECORD``: every file of a wheel with its sha256 and size. Pure.

Format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
A build writes it whole. In an environment single rows are changed, and every other byte stays:
installers differ in row order and line ends (pip writes CRLF, uv LF).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vllm_patchkit.archive.flaws import Flaw, FlawKind

# 32 bytes in URL-safe base64 without padding, as the specification asks.
SHA256_HASH = re.compile(r"sha256=[A-Za-z0-9_-]{43}")
# Signatures of RECORD (PEP 427) cannot be listed in it, and would not fit ours.
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
QUOTED = re.compile(rb'"((?:[^"]|"")*)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordRow:
    """What RECORD says of one member; ``hash`` is ``sha256=<base64>``."""

    path: str
    hash: str
    size: int

    @classmethod
    def of(cls, path: str, data: bytes) -> RecordRow:
        """Return the row for a member with this content."""
        return cls(path=path, hash=record_hash(hashlib.sha256(data).digest()), size=len(data))


def record_hash(digest: bytes) -> str:
    """Return a sha256 digest in the form that RECORD uses.

    >>> record_hash(hashlib.sha256(b"").digest())
    'sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def format_record(rows: Iterable[RecordRow], own_path: str) -> bytes:
    """Return the file: the rows in the order given, its own row without a hash at the end."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((row.path, row.hash, row.size) for row in rows)
    writer.writerow((own_path, "", ""))
    return text.getvalue().encode("utf-8")


def parse_record(data: bytes, own_path: str) -> tuple[dict[str, RecordRow], list[Flaw]]:
    """Return the rows by path (without its own), and everything that is wrong with the file."""
    rows: dict[str, RecordRow] = {}
    flaws: list[Flaw] = []
    try:
        table = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        return {}, [Flaw(FlawKind.RECORD, f"RECORD is no CSV file in UTF-8: {error}")]
    for number, cells in enumerate(table, start=1):
        fault = _row_fault(cells, own_path)
        if fault:
            flaws.append(Flaw(FlawKind.RECORD, f"RECORD line {number}: {fault}"))
        elif cells and cells[0] in rows:
            flaws.append(Flaw(FlawKind.RECORD, f"RECORD lists {cells[0]!r} more than once"))
        elif cells and cells[0] != own_path:
            rows[cells[0]] = RecordRow(path=cells[0], hash=cells[1], size=int(cells[2]))
    return rows, flaws


def check_rows(rows: Mapping[str, RecordRow], sizes: Mapping[str, int]) -> Iterator[Flaw]:
    """Yield where RECORD and the members (name -> size, without RECORD itself) disagree."""
    for path in sorted(rows.keys() - sizes.keys()):
        yield Flaw(FlawKind.RECORD, f"RECORD lists {path!r}, which is not in the wheel")
    for path in sorted(sizes.keys() - rows.keys()):
        yield Flaw(FlawKind.RECORD, f"RECORD does not list {path!r}")
    for path in sorted(rows.keys() & sizes.keys()):
        if rows[path].size != sizes[path]:
            text = f"RECORD gives {path!r} {rows[path].size} bytes; it has {sizes[path]}"
            yield Flaw(FlawKind.RECORD, text)


def record_row(path: str, content: bytes) -> bytes:
    """Return the row for a file, without a line end.

    >>> record_row("a,b.py", b"")
    b'"a,b.py",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0'
    """
    row = RecordRow.of(path, content)
    return f"{_quoted(path)},{row.hash},{row.size}".encode()


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
    quoted = QUOTED.match(row) if row.startswith(b'"') else None
    path = quoted[1].replace(b'""', b'"') if quoted else row.partition(b",")[0].rstrip(b"\r\n")
    return path.decode("utf-8", "surrogateescape")


def lists_files_under(record: bytes, folder: str) -> bool:
    """Return whether a RECORD has a row for a file inside ``folder``."""
    prefix = folder.encode() + b"/"
    return any(line.lstrip(b'"').startswith(prefix) for line in record.splitlines())


def _row_fault(cells: list[str], own_path: str) -> str | None:
    if not cells:
        return None
    if len(cells) != 3:
        return f"{len(cells)} fields instead of 3"
    path, digest, size = cells
    if path == own_path:
        return "RECORD cannot hold its own hash" if digest or size else None
    if not SHA256_HASH.fullmatch(digest):
        return f"{path!r} has no sha256 of 43 base64 digits: {digest!r}"
    if not (size.isascii() and size.isdigit()):
        return f"{path!r} has no size in bytes: {size!r}"
    return None


def _quoted(path: str) -> str:
    if any(mark in path for mark in ',"\r\n'):
        return '"' + path.replace('"', '""') + '"'
    return path
