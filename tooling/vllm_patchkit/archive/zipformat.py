"""The parts of a zip file as bytes (PKWARE APPNOTE.TXT 6.3.10, section 4.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

STORED: Final = 0
DEFLATED: Final = 8

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
CENTRAL_ENTRY = struct.Struct("<4s6H3I5H2I")
END_RECORD = struct.Struct("<4s4H2IH")
EXTRA_FIELD = struct.Struct("<HH")

LOCAL_MAGIC = b"PK\x03\x04"
CENTRAL_MAGIC = b"PK\x01\x02"
END_MAGIC = b"PK\x05\x06"
ZIP64_LOCATOR_MAGIC = b"PK\x06\x07"
ZIP64_LOCATOR_BYTES = 20

FLAG_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
FLAG_DATA_DESCRIPTOR = 0x0008
FLAG_UTF8 = 0x0800
# Bits 1 and 2 only tell how hard the compressor tried.
HARMLESS_FLAGS = 0x0006 | FLAG_UTF8
EXTRA_ZIP64 = 0x0001
EXTRA_UNICODE_PATH = 0x7075

# Where a count or a 32-bit size holds this, the true one is in a zip64 field.
FULL_16 = 0xFFFF
FULL_32 = 0xFFFFFFFF

Moment = tuple[int, int, int, int, int, int]
"""Year to second, in no time zone."""
EARLIEST: Moment = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A row of the central directory, ``length`` bytes long; nothing of it is believed yet."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed_size: int
    size: int
    attributes: int
    header_offset: int
    extra: bytes
    length: int
    modified: Moment

    @property
    def label(self) -> str:
        """What a message calls the member, whatever its name's bytes are."""
        return repr(self.raw_name.decode("utf-8", "backslashreplace"))


@dataclass(frozen=True, kw_only=True, slots=True)
class EndRecord:
    """The last 22 bytes of an archive: where its central directory is."""

    count: int
    directory_size: int
    directory_offset: int
    single_disk: bool
    comment_size: int

    @classmethod
    def parse(cls, data: bytes) -> EndRecord | None:
        """Return the end record that ``data`` is, or None where it is not one."""
        if len(data) != END_RECORD.size or not data.startswith(END_MAGIC):
            return None
        _, disk, first_disk, here, count, size, offset, comment = END_RECORD.unpack(data)
        return cls(
            count=count,
            directory_size=size,
            directory_offset=offset,
            single_disk=not disk and not first_disk and here == count,
            comment_size=comment,
        )

    @property
    def is_zip64(self) -> bool:
        """Whether the true numbers are elsewhere."""
        return self.count == FULL_16 or FULL_32 in (self.directory_size, self.directory_offset)


def parse_directory(data: bytes) -> Iterator[Entry]:
    """Yield the rows of a central directory, up to where it breaks off."""
    position = 0
    while position + CENTRAL_ENTRY.size <= len(data):
        row = CENTRAL_ENTRY.unpack_from(data, position)
        magic, _, _, flags, method, time, date, crc, packed, size, name_size, extra_size = row[:12]
        comment_size, _, _, attributes, header_offset = row[12:]
        start, name_at = position, position + CENTRAL_ENTRY.size
        extra_at = name_at + name_size
        position = extra_at + extra_size + comment_size
        if magic != CENTRAL_MAGIC or position > len(data):
            return
        yield Entry(
            raw_name=data[name_at:extra_at],
            flags=flags,
            method=method,
            crc=crc,
            compressed_size=packed,
            size=size,
            attributes=attributes,
            header_offset=header_offset,
            extra=data[extra_at : extra_at + extra_size],
            length=position - start,
            modified=_moment(date, time),
        )


def _moment(date: int, time: int) -> Moment:
    """Return a date and time as DOS packs them; one that is none is the earliest."""
    year, month, day = (date >> 9) + 1980, date >> 5 & 0xF, date & 0x1F
    found = (year, month, day, time >> 11, time >> 5 & 0x3F, (time & 0x1F) * 2)
    return max(found, EARLIEST)


def parse_extra(data: bytes) -> list[int] | None:
    """Return the ids of the extra fields, or None where they are malformed."""
    ids = []
    position = 0
    while position < len(data):
        if position + EXTRA_FIELD.size > len(data):
            return None
        field, length = EXTRA_FIELD.unpack_from(data, position)
        position += EXTRA_FIELD.size + length
        ids.append(field)
    return ids if position == len(data) else None
