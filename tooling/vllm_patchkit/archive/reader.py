"""A zip archive as raw members, read as if somebody meant harm."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO

from vllm_patchkit.archive import zipformat
from vllm_patchkit.archive.entries import (
    Member,
    check_entry,
    check_expansion,
    check_extra,
    check_layout,
    check_local,
)
from vllm_patchkit.archive.flaws import Flaw, FlawKind, require_no_flaws
from vllm_patchkit.archive.names import check_together
from vllm_patchkit.errors import UsageError, WheelError

MAX_MEMBER_READ_BYTES = 64 << 20
MAX_DIRECTORY_BYTES = 64 << 20


class Archive:
    """An open archive whose structure has been checked: names, headers, offsets, sizes.

    ``members`` are in the order of their bytes in the file. Contents are not looked at on
    opening: ``read`` checks one member, ``wheel.integrity`` all of them.

    :raises WheelError: listing everything that is wrong with the structure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        try:
            self.size_bytes = os.fstat(self._file.fileno()).st_size
            self.members = tuple(self._read_members())
        except BaseException:
            self._file.close()
            raise
        self._by_name = {member.name: member for member in self.members}

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def find(self, name: str) -> Member | None:
        """Return the member of that name, or None."""
        return self._by_name.get(name)

    def read(self, name: str) -> bytes:
        """Return the content of a member; its size and CRC are checked.

        :raises WheelError: there is no such member, it is larger than 64 MiB, or it is damaged.
        """
        member = self.find(name)
        if member is None:
            raise WheelError(f"{self.path.name} has no member {name!r}")
        if member.size > MAX_MEMBER_READ_BYTES:
            raise WheelError(
                f"{self.path.name}: {name!r} is too large to read: {member.size} bytes"
            )
        raw = self.pread(member.data_offset, member.compressed_size)
        data = raw if member.method == zipformat.STORED else _inflate(raw, member.size)
        if data is None or len(data) != member.size or zlib.crc32(data) != member.crc:
            flaw = Flaw(FlawKind.CONTENT, f"{name!r} does not unpack to what its header says")
            require_no_flaws(self.path.name, [flaw])
        assert data is not None
        return data

    def get(self, name: str) -> bytes | None:
        """Return the content of a member, or None where there is no such member."""
        return self.read(name) if name in self._by_name else None

    def files_below(self, folder: str) -> list[str]:
        """Return the paths of the files below a folder, relative to it."""
        start = f"{folder}/"
        names = (member.name for member in self.members if not member.is_folder)
        return [name.removeprefix(start) for name in names if name.startswith(start)]

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``, fewer than asked only at the end of the file."""
        data = os.pread(self._file.fileno(), length, offset)
        while len(data) < length:
            more = os.pread(self._file.fileno(), length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with the bytes at ``offset``; return how many there were."""
        filled = 0
        while filled < len(buffer):
            count = os.preadv(self._file.fileno(), [buffer[filled:]], offset + filled)
            if not count:
                break
            filled += count
        return filled

    def _read_members(self) -> list[Member]:
        end = self._read_end_record()
        flaws: list[Flaw] = []
        members: list[Member] = []
        for entry in sorted(self._read_directory(end), key=lambda entry: entry.header_offset):
            found = list(check_entry(entry))
            if not found:
                member, found = self._read_member(entry)
                members.append(member)
            flaws += found
        if not flaws:
            flaws += check_layout(members, end.directory_offset)
            flaws += check_together(member.name for member in members)
            flaws += check_expansion(members, self.size_bytes)
        require_no_flaws(self.path.name, flaws)
        return members

    def _read_end_record(self) -> zipformat.EndRecord:
        start = max(0, self.size_bytes - zipformat.END_RECORD.size)
        end = zipformat.EndRecord.parse(self.pread(start, zipformat.END_RECORD.size))
        flaw = self._check_end(end, start)
        if flaw is not None:
            require_no_flaws(self.path.name, [flaw])
        assert end is not None
        return end

    def _check_end(self, end: zipformat.EndRecord | None, start: int) -> Flaw | None:
        if self.pread(0, 4) not in (zipformat.LOCAL_MAGIC, zipformat.END_MAGIC):
            return Flaw(FlawKind.NOT_A_ZIP, "it does not start with a member")
        if end is None:
            text = "no end record at the end: it was cut short, or something was appended"
            return Flaw(FlawKind.TRUNCATED, text)
        locator = self.pread(
            max(0, start - zipformat.ZIP64_LOCATOR_BYTES), zipformat.ZIP64_LOCATOR_BYTES
        )
        if end.is_zip64 or locator.startswith(zipformat.ZIP64_LOCATOR_MAGIC):
            return Flaw(FlawKind.ZIP64, "a wheel below 4 GiB does not need zip64")
        if not end.single_disk or end.comment_size:
            return Flaw(FlawKind.NOT_A_ZIP, "the end record is not that of a plain archive")
        if end.directory_offset + end.directory_size != start:
            text = "the central directory does not end where the end record starts"
            return Flaw(FlawKind.HIDDEN_DATA, text)
        if end.directory_size > MAX_DIRECTORY_BYTES:
            return Flaw(FlawKind.BOMB, f"a central directory of {end.directory_size} bytes")
        return None

    def _read_directory(self, end: zipformat.EndRecord) -> list[zipformat.Entry]:
        data = self.pread(end.directory_offset, end.directory_size)
        entries = list(zipformat.parse_directory(data))
        used = sum(entry.length for entry in entries)
        if len(entries) != end.count or used != len(data):
            text = f"the central directory holds {len(entries)} members, not {end.count}"
            require_no_flaws(self.path.name, [Flaw(FlawKind.TRUNCATED, text)])
        return entries

    def _read_member(self, entry: zipformat.Entry) -> tuple[Member, list[Flaw]]:
        """Return the member of a sound entry, and what its own header gets wrong."""
        name_end = zipformat.LOCAL_HEADER.size + len(entry.raw_name)
        header = self.pread(entry.header_offset, name_end)
        flaws = list(check_local(entry, header))
        extra_size = 0
        if not flaws:
            extra_size = zipformat.LOCAL_HEADER.unpack_from(header)[-1]
        if extra_size:
            extra = self.pread(entry.header_offset + name_end, extra_size)
            flaws += check_extra(entry, extra)
        member = Member(
            name=entry.raw_name.decode("utf-8"),
            method=entry.method,
            crc=entry.crc,
            compressed_size=entry.compressed_size,
            size=entry.size,
            executable=bool((entry.attributes >> 16) & 0o111),
            header_offset=entry.header_offset,
            data_offset=entry.header_offset + name_end + extra_size,
            modified=entry.modified,
        )
        return member, flaws


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder", hint=f"name the wheel: {path}/*.whl") from None
    except OSError as error:
        raise WheelError(f"cannot open {path}: {error.strerror}") from error


def _inflate(raw: bytes, size: int) -> bytes | None:
    """Return the unpacked bytes, never more than ``size + 1``; None where they are damaged."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(raw, size + 1)
    except zlib.error:
        return None
    return data if unpacker.eof and not unpacker.unused_data else None
