"""Checking every byte of a wheel against its RECORD.

A pinned wheel is known by its sha256, and its RECORD was checked when it was pinned; one that a
user brings is unknown, and our RECORD would repeat its lies.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping

from vllm_patchkit.archive import zipformat
from vllm_patchkit.archive.entries import Member
from vllm_patchkit.archive.flaws import Flaw, FlawKind, require_no_flaws
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.host.terminal import Console, Progress
from vllm_patchkit.wheel.record import RecordRow, record_hash

BLOCK_BYTES = 1 << 20


def require_sound(archive: Archive, rows: Mapping[str, RecordRow], console: Console) -> None:
    """Unpack every member and compare it with its CRC, its size and its row of RECORD.

    Memory stays bounded: a member is unpacked in blocks, and never beyond its declared size.

    :raises WheelError: listing every member that is not what it is said to be.
    """
    flaws: list[Flaw] = []
    total = sum(member.compressed_size for member in archive.members)
    with console.progress(f"verify {archive.path.name}", total) as bar:
        for member in archive.members:
            flaws += _check_member(archive, member, rows.get(member.name), bar)
    require_no_flaws(archive.path.name, flaws)


def _check_member(
    archive: Archive, member: Member, row: RecordRow | None, bar: Progress
) -> Iterator[Flaw]:
    digest = hashlib.sha256()
    crc = size = 0
    try:
        for block in _unpack(archive, member, bar):
            digest.update(block)
            crc = zlib.crc32(block, crc)
            size += len(block)
    except zlib.error as error:
        yield Flaw(FlawKind.CONTENT, f"{member.name!r} cannot be unpacked: {error}")
        return
    if (size, crc) != (member.size, member.crc):
        yield Flaw(FlawKind.CONTENT, f"{member.name!r} does not unpack to what its header says")
    elif row is not None and row.hash != record_hash(digest.digest()):
        text = f"RECORD gives {member.name!r} {row.hash}; it has {record_hash(digest.digest())}"
        yield Flaw(FlawKind.RECORD, text)


def _unpack(archive: Archive, member: Member, bar: Progress) -> Iterator[bytes]:
    """Yield a member's content in blocks.

    :raises zlib.error: the compressed data is damaged, or goes on after its end.
    """
    blocks = _raw_blocks(archive, member, bar)
    yield from blocks if member.method == zipformat.STORED else _inflate(blocks, member.size)


def _raw_blocks(archive: Archive, member: Member, bar: Progress) -> Iterator[bytes]:
    for offset in range(member.data_offset, member.end, BLOCK_BYTES):
        raw = archive.pread(offset, min(BLOCK_BYTES, member.end - offset))
        bar.advance(len(raw))
        yield raw


def _inflate(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield what a deflate stream unpacks to, at most one byte more than ``size``."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    left = size + 1
    for raw in blocks:
        while left and not unpacker.eof:
            block = unpacker.decompress(raw, min(BLOCK_BYTES, left))
            raw = unpacker.unconsumed_tail
            left -= len(block)
            yield block
            if not block and not raw:
                break
        if unpacker.unused_data or (raw and unpacker.eof):
            raise zlib.error("it goes on after the end of the stream")
    if left and not unpacker.eof:
        raise zlib.error("the stream has no end")
