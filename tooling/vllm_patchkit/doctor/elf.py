"""What a shared library asks of others, read from its dynamic section (ELF, 64 bit, x86 or Arm)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import PatchkitError

MAGIC = b"\x7fELF\x02\x01"
SECTION = struct.Struct("<IIQQQQIIQQ")
DYNAMIC_ENTRY = struct.Struct("<qQ")
SHT_DYNAMIC = 6
DT_NULL = 0
DT_NEEDED = 1


class ElfError(PatchkitError):
    """A file is not a little-endian 64-bit ELF library, or is cut short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A shared library: the names it needs (``DT_NEEDED``) and its dynamic string table."""

    needed: tuple[str, ...]
    strings: bytes

    @property
    def cxx11_abi(self) -> bool | None:
        """Whether it uses the C++11 ABI of libstdc++; None where no symbol tells.

        The new ``std::string`` is mangled as ``NSt7__cxx1112basic_string...`` and the old one as
        ``Ss`` (GCC manual, "Dual ABI").
        """
        if b"NSt7__cxx1112basic_string" in self.strings:
            return True
        names = self.strings.split(b"\0")
        return False if any(b"Ss" in name for name in names if name.startswith(b"_ZN")) else None


def read_library(path: Path) -> Library:
    """Return what the library at ``path`` asks of others.

    :raises ElfError: it is not such a library.
    """
    with path.open("rb") as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(data, path)
        except (struct.error, ValueError) as error:
            raise ElfError(f"{path} is not a complete ELF library: {error}") from error


def _parse(data: mmap.mmap, path: Path) -> Library:
    if data[:6] != MAGIC:
        raise ElfError(f"{path} is not a 64-bit ELF library")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [SECTION.unpack_from(data, table + index * size) for index in range(count)]
    dynamic = next((section for section in sections if section[1] == SHT_DYNAMIC), None)
    if dynamic is None:
        raise ElfError(f"{path} has no dynamic section")
    _, _, _, _, offset, length, link = dynamic[:7]
    start, extent = sections[link][4:6]
    strings = data[start : start + extent]
    entries = _entries(data[offset : offset + length])
    needed = tuple(_string(strings, value) for tag, value in entries if tag == DT_NEEDED)
    return Library(needed=needed, strings=strings)


def _entries(dynamic: bytes) -> Iterator[tuple[int, int]]:
    whole = len(dynamic) - len(dynamic) % DYNAMIC_ENTRY.size
    for tag, value in DYNAMIC_ENTRY.iter_unpack(dynamic[:whole]):
        if tag == DT_NULL:
            return
        yield tag, value


def _string(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode("utf-8", "replace")
