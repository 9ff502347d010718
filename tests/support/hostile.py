"""Zip files that lie, written field by field; nothing here is shared with the code under test."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@dataclass(frozen=True)
class Item:
    """One member; ``central`` and ``local`` replace header fields, ``raw`` the packed bytes."""

    name: bytes
    data: bytes = b"data\n"
    method: int = 8
    mode: int = 0o100644
    raw: bytes | None = None
    central: Mapping[str, int] = field(default_factory=dict)
    local: Mapping[str, int] = field(default_factory=dict)
    central_extra: bytes = b""
    local_extra: bytes = b""
    local_name: bytes | None = None
    before: bytes = b""
    after: bytes = b""
    hidden: bool = False

    @property
    def packed(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return deflate(self.data) if self.method == 8 else self.data


def zip_bytes(
    items: Sequence[Item],
    *,
    end: Mapping[str, int] | None = None,
    before_end: bytes = b"",
    tail: bytes = b"",
) -> bytes:
    """Return an archive of the items, as wrong as they say."""
    body = bytearray()
    directory = bytearray()
    for item in items:
        body += item.before
        offset = len(body)
        packed = item.packed
        base = {
            "needed": 20,
            "flags": 0,
            "method": item.method,
            "time": 0,
            "date": 33,
            "crc": zlib.crc32(item.data),
            "packed": len(packed),
            "size": len(item.data),
        }
        head = {**base, **item.local}
        local_name = item.name if item.local_name is None else item.local_name
        body += struct.pack(
            "<4s5H3I2H",
            b"PK\3\4",
            *(head[key] for key in base),
            len(local_name),
            len(item.local_extra),
        )
        body += local_name + item.local_extra + packed + item.after
        row = {
            "made": (3 << 8) | 20,
            **base,
            "external": item.mode << 16,
            "offset": offset,
            **item.central,
        }
        if item.hidden:
            continue
        directory += struct.pack(
            "<4s6H3I5H2I",
            b"PK\1\2",
            *(row[key] for key in ("made", *base)),
            len(item.name),
            len(item.central_extra),
            0,
            0,
            0,
            row["external"],
            row["offset"],
        )
        directory += item.name + item.central_extra
    shown = [item for item in items if not item.hidden]
    last = {
        "disk": 0,
        "first": 0,
        "here": len(shown),
        "count": len(shown),
        "size": len(directory),
        "offset": len(body),
        "comment": 0,
        **(end or {}),
    }
    record = struct.pack("<4s4H2IH", b"PK\5\6", *last.values())
    return bytes(body + directory) + before_end + record + tail
