"""Writing a zip whose bytes depend on nothing but its members.

This module owns determinism: time, mode, flags, versions and the order given by the caller are
all there is; no disk, clock, umask, locale or zlib has a say. Contents that we make are stored,
because two zlibs (zlib-ng, a newer release) compress the same bytes differently.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Callable
from typing import Protocol

from vllm_patchkit.archive import zipformat
from vllm_patchkit.archive.entries import Member
from vllm_patchkit.errors import WheelError

# 1980-01-01 00:00:00, the earliest that a zip can say (https://reproducible-builds.org/docs).
DOS_TIME = 0
DOS_DATE = (1 << 5) | 1
VERSION_NEEDED = 20
MADE_ON_UNIX = 3
ARCHIVED_ON = (MADE_ON_UNIX << 8) | VERSION_NEEDED
MODE_FILE = stat.S_IFREG | 0o644
MODE_EXECUTABLE = stat.S_IFREG | 0o755


class Sink(Protocol):
    """Where bytes go, in order."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of ``data``."""


def local_size(name: str) -> int:
    """Return the bytes before a member's data."""
    return zipformat.LOCAL_HEADER.size + len(name.encode("utf-8"))


def member_overhead(name: str) -> int:
    """Return the bytes that a member takes besides its data: both of its headers."""
    return (
        zipformat.LOCAL_HEADER.size + zipformat.CENTRAL_ENTRY.size + 2 * len(name.encode("utf-8"))
    )


class ZipWriter:
    """Writes members to a sink one after the other; ``close`` writes the central directory."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._offset = 0
        self._directory: list[bytes] = []

    def write_stored(self, name: str, data: bytes, *, executable: bool = False) -> None:
        """Write a member with this content, uncompressed."""
        sizes = (zlib.crc32(data), len(data), len(data))
        self._write_header(name, zipformat.STORED, sizes, executable)
        self._write(data)

    def write_raw(self, name: str, member: Member, copy: Callable[[Sink], None]) -> None:
        """Write a member of another archive; ``copy`` writes its compressed bytes to the sink."""
        sizes = (member.crc, member.compressed_size, member.size)
        self._write_header(name, member.method, sizes, member.executable)
        copy(self._sink)
        self._offset += member.compressed_size

    def close(self) -> None:
        """Write the central directory and the end record."""
        directory = b"".join(self._directory)
        count = len(self._directory)
        if count >= zipformat.FULL_16 or self._offset + len(directory) >= zipformat.FULL_32:
            raise WheelError("the wheel would need zip64: 65,535 members or 4 GiB are too many")
        start = self._offset
        self._write(directory)
        self._write(
            zipformat.END_RECORD.pack(
                zipformat.END_MAGIC, 0, 0, count, count, len(directory), start, 0
            )
        )

    def _write_header(
        self, name: str, method: int, sizes: tuple[int, int, int], executable: bool
    ) -> None:
        raw_name = name.encode("utf-8")
        flags = 0 if name.isascii() else zipformat.FLAG_UTF8
        common = (VERSION_NEEDED, flags, method, DOS_TIME, DOS_DATE, *sizes, len(raw_name), 0)
        mode = MODE_EXECUTABLE if executable else MODE_FILE
        offset = min(self._offset, zipformat.FULL_32)
        tail = (0, 0, 0, mode << 16, offset)
        entry = zipformat.CENTRAL_ENTRY.pack(zipformat.CENTRAL_MAGIC, ARCHIVED_ON, *common, *tail)
        self._directory.append(entry + raw_name)
        self._write(zipformat.LOCAL_HEADER.pack(zipformat.LOCAL_MAGIC, *common) + raw_name)

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        self._offset += len(data)
