"""The file that a build writes: there in full, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vllm_patchkit.errors import HostError
from vllm_patchkit.host.files import made_whole, replacement

# Gathers headers and small members; large blocks go past it without being copied.
BUFFER_BYTES = 1 << 16
MODE = 0o644
NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


@contextmanager
def new_file(path: Path, size_bytes: int) -> Iterator[BinaryIO]:
    """Give a stream whose content appears at ``path`` when the block ends without an error.

    Where the file system has unnamed files (O_TMPFILE), not even a killed process leaves
    anything behind. Nothing is synced: a wheel that a power cut took can be built again.

    :raises HostError: the folder cannot be written, or has less room than ``size_bytes``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_room(path.parent, size_bytes)
        with _unnamed_file(path) as stream:
            # One allocation is faster than many, and a full disk shows before the work is done.
            os.posix_fallocate(stream.fileno(), 0, max(size_bytes, 1))
            yield stream
            stream.truncate()
    except OSError as error:
        raise HostError(
            f"cannot write {path}: {error.strerror}",
            hint="choose another folder with --out",
        ) from error


@contextmanager
def _unnamed_file(path: Path) -> Iterator[BinaryIO]:
    """Give a stream to a file that gets its name when the block ends."""
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, MODE)
    except OSError as error:
        if error.errno not in NO_UNNAMED_FILES:
            raise
        # A temporary name, which only an orderly end takes away.
        with replacement(path) as stream:
            yield stream
        return
    with os.fdopen(handle, "wb", buffering=BUFFER_BYTES) as stream:
        yield stream
        stream.flush()
        os.fchmod(handle, MODE)
        _give_name(handle, path)


def _give_name(handle: int, path: Path) -> None:
    """Link an unnamed file into its folder and rename it over whatever has the name now."""
    with made_whole(path) as fresh:
        directory = os.open(fresh.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # A directory descriptor makes Python call linkat, which can follow the link in /proc.
            os.link(f"/proc/self/fd/{handle}", fresh.name, dst_dir_fd=directory)
        finally:
            os.close(directory)


def _require_room(folder: Path, size_bytes: int) -> None:
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < size_bytes:
        raise HostError(
            f"{folder} has {free / 1e6:.0f} MB free; the wheel takes {size_bytes / 1e6:.0f} MB",
            hint="make room, or choose another folder with --out",
        )
