"""The rules for what a zip file says of its members; narrower than the specification.

Whatever two readers could understand differently is a flaw: a raw copy would pass it on.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vllm_patchkit.archive import zipformat
from vllm_patchkit.archive.flaws import Flaw, FlawKind
from vllm_patchkit.archive.names import check_name

# Deflate cannot expand further than this (https://zlib.net/zlib_tech.html).
DEFLATE_LIMIT = 1032
# All members together, beside the size of the archive; vLLM's own wheels are at 3.
MAX_EXPANSION = 100
SMALL_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file of an archive and where its compressed bytes lie; what it says was checked."""

    name: str
    method: int
    crc: int
    compressed_size: int
    size: int
    executable: bool
    header_offset: int
    data_offset: int
    modified: zipformat.Moment

    @property
    def is_folder(self) -> bool:
        """Whether this is a directory entry, which wheels do not need."""
        return self.name.endswith("/")

    @property
    def end(self) -> int:
        """Where the next member must start."""
        return self.data_offset + self.compressed_size


def check_entry(entry: zipformat.Entry) -> Iterator[Flaw]:
    """Yield what is wrong with one row of the central directory."""
    if entry.flags & zipformat.FLAG_ENCRYPTED:
        yield Flaw(FlawKind.ENCRYPTED, f"{entry.label} is encrypted")
    elif entry.flags & zipformat.FLAG_DATA_DESCRIPTOR:
        yield Flaw(FlawKind.DATA_DESCRIPTOR, f"{entry.label} has its sizes after its data")
    elif entry.flags & ~zipformat.HARMLESS_FLAGS:
        yield Flaw(FlawKind.FLAGS, f"{entry.label} has unknown flags {entry.flags:#06x}")
    if entry.method not in (zipformat.STORED, zipformat.DEFLATED):
        text = f"{entry.label} uses method {entry.method}; wheels use 0 (stored) and 8 (deflate)"
        yield Flaw(FlawKind.COMPRESSION, text)
    yield from check_extra(entry, entry.extra)
    yield from _check_sizes(entry)
    yield from _check_type(entry)
    yield from _check_raw_name(entry)


def check_extra(entry: zipformat.Entry, extra: bytes) -> Iterator[Flaw]:
    """Yield what is wrong with the extra fields of a member, in either of its headers."""
    ids = zipformat.parse_extra(extra)
    if ids is None:
        yield Flaw(FlawKind.LOCAL_HEADER, f"{entry.label} has malformed extra fields")
    elif zipformat.EXTRA_ZIP64 in ids:
        yield Flaw(FlawKind.ZIP64, f"{entry.label} has zip64 sizes")
    elif zipformat.EXTRA_UNICODE_PATH in ids:
        yield Flaw(FlawKind.UNSAFE_NAME, f"{entry.label} has a second name in an extra field")


def check_local(entry: zipformat.Entry, header: bytes) -> Iterator[Flaw]:
    """Yield where a member's own header (with its name) and the directory disagree."""
    if len(header) < zipformat.LOCAL_HEADER.size or not header.startswith(zipformat.LOCAL_MAGIC):
        yield Flaw(FlawKind.LOCAL_HEADER, f"{entry.label} is not where the directory says")
        return
    _, _, flags, method, _, _, crc, packed, size, name_size, _ = zipformat.LOCAL_HEADER.unpack_from(
        header
    )
    found = (flags, method, crc, packed, size, name_size, header[zipformat.LOCAL_HEADER.size :])
    expected = (
        entry.flags,
        entry.method,
        entry.crc,
        entry.compressed_size,
        entry.size,
        len(entry.raw_name),
        entry.raw_name,
    )
    if found != expected:
        text = f"{entry.label}: its own header and the central directory disagree"
        yield Flaw(FlawKind.LOCAL_HEADER, text)


def check_layout(members: Sequence[Member], directory_offset: int) -> Iterator[Flaw]:
    """Yield where members (in file order) overlap or leave bytes that belong to none."""
    position = 0
    for member in members:
        if member.header_offset < position:
            yield Flaw(FlawKind.OVERLAP, f"{member.name!r} shares bytes with the member before it")
        elif member.header_offset > position:
            gap = member.header_offset - position
            yield Flaw(
                FlawKind.HIDDEN_DATA, f"{gap} bytes before {member.name!r} belong to nothing"
            )
        position = member.end
    if position > directory_offset:
        yield Flaw(FlawKind.OVERLAP, "the last member reaches into the central directory")
    elif position < directory_offset:
        gap = directory_offset - position
        yield Flaw(
            FlawKind.HIDDEN_DATA, f"{gap} bytes before the central directory are unaccounted"
        )


def check_expansion(members: Sequence[Member], archive_size: int) -> Iterator[Flaw]:
    """Yield whether the archive unpacks to far more than its size."""
    total = sum(member.size for member in members)
    if total > max(SMALL_BYTES, MAX_EXPANSION * archive_size):
        text = f"{archive_size} bytes unpack to {total}, more than {MAX_EXPANSION} times as many"
        yield Flaw(FlawKind.BOMB, text)


def _check_sizes(entry: zipformat.Entry) -> Iterator[Flaw]:
    if zipformat.FULL_32 in (entry.compressed_size, entry.size, entry.header_offset):
        yield Flaw(FlawKind.ZIP64, f"{entry.label} has zip64 sizes")
    elif entry.method == zipformat.STORED and entry.compressed_size != entry.size:
        text = f"{entry.label} is stored, but has {entry.compressed_size} bytes for {entry.size}"
        yield Flaw(FlawKind.LOCAL_HEADER, text)
    elif entry.size > DEFLATE_LIMIT * max(entry.compressed_size, 1):
        text = f"{entry.label}: {entry.compressed_size} bytes cannot unpack to {entry.size}"
        yield Flaw(FlawKind.BOMB, text)


def _check_type(entry: zipformat.Entry) -> Iterator[Flaw]:
    kind = stat.S_IFMT(entry.attributes >> 16)
    is_folder = entry.raw_name.endswith(b"/")
    if kind == stat.S_IFLNK:
        yield Flaw(FlawKind.SPECIAL_FILE, f"{entry.label} is a symbolic link")
    elif kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        yield Flaw(FlawKind.SPECIAL_FILE, f"{entry.label} is not a regular file ({kind:#o})")
    elif is_folder and entry.size:
        yield Flaw(FlawKind.SPECIAL_FILE, f"{entry.label} is a folder with content")


def _check_raw_name(entry: zipformat.Entry) -> Iterator[Flaw]:
    try:
        name = entry.raw_name.decode("utf-8" if entry.flags & zipformat.FLAG_UTF8 else "ascii")
    except UnicodeDecodeError:
        yield Flaw(FlawKind.UNSAFE_NAME, f"{entry.label}: the encoding of the name is not declared")
        return
    yield from check_name(name)
