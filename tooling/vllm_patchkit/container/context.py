"""The build context: a tar stream made from a list, the same bytes for the same files."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 1 << 20
FILE_MODE = 0o644


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextFile:
    """One file of the context: its name there (POSIX, relative) and where it lies."""

    name: str
    path: Path


def context_size(files: Iterable[ContextFile]) -> int:
    """Return the sum of the files' sizes in bytes."""
    return sum(file.path.stat().st_size for file in files)


def stream_context(files: Iterable[ContextFile], *, epoch: int) -> Iterator[bytes]:
    """Yield the tar, in blocks: entries sorted by name, one date, one mode, no owner.

    Nothing is copied first: a context with a wheelhouse has gigabytes.

    :param epoch: the date of every entry, in seconds since 1970.
    """
    for file in sorted(files, key=lambda file: file.name):
        entry = tarfile.TarInfo(file.name)
        entry.size = file.path.stat().st_size
        entry.mtime = epoch
        entry.mode = FILE_MODE
        yield entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        with file.path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block
        yield bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
