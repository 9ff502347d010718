"""Files: hashed in blocks, and written so that an interruption leaves the old or the new one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console

BLOCK_BYTES = 1 << 20


def file_sha256(path: Path, console: Console | None = None) -> str:
    """Return the sha256 of a file of any size, in lower-case hexadecimal.

    :param console: shows how far it is.
    """
    digest = hashlib.sha256()
    console = console or Console(quiet=True)
    with console.progress(f"hash {path.name}", path.stat().st_size) as bar, path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            bar.advance(len(block))
    return digest.hexdigest()


def list_files(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted; links to folders are not followed.

    :raises OSError: one that is there cannot be listed, of which ``Path.rglob`` says nothing.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    walked = os.walk(folder, onerror=refuse)
    return sorted(Path(place, name) for place, _, names in walked for name in names)


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` through a synced temporary file beside it and a rename.

    A hard link to the old content (an installer's cache) keeps the old content.

    :raises UsageError: a folder is there.
    """
    if path.absolute().is_relative_to("/dev"):
        # /dev/stdout is no file to be replaced.
        path.write_bytes(data)
        return
    with replacement(path) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(path.parent)


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """Give a temporary file beside ``path`` that takes its place at the end, or else goes."""
    import tempfile

    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name the file to write")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            os.fchmod(handle, 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make ``target`` the file that ``source`` is, or its copy where that is not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def made_whole(place: Path) -> Iterator[Path]:
    """Give a path of the same name, alone in a folder beside ``place``.

    The file or folder that is made there takes the place at the end, or else goes.
    """
    import tempfile

    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as name:
        fresh = Path(name) / place.name
        yield fresh
        try:
            fresh.replace(place)
        except OSError:
            # Another process has made the same folder meanwhile.
            if not place.is_dir():
                raise


def sync_folder(folder: Path) -> None:
    """Make the renames done in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def hold(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep others that hold the same file or folder out while the block runs.

    It is locked itself (``flock``): a folder needs no lock file, one that is read-only can be
    locked too, and the kernel lets go when the process dies.

    :raises BlockingIOError: another process holds it, and not ``wait``.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def sweep(place: Path, prefix: str) -> None:
    """Delete the folders that a killed command left; whoever makes some holds a lock there."""
    for stale in place.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)
