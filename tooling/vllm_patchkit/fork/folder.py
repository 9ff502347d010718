"""A stack folder on disk: read whole, replaced whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vllm_patchkit.errors import HostError
from vllm_patchkit.host.files import list_files, sweep, sync_folder

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return every file of a stack folder by its path in it; none where there is no folder.

    Bytecode of the stack's own scenarios is no part of it, nor is what Python renames to it.
    """
    if not folder.is_dir():
        return {}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in list_files(folder)
        if path.is_file() and not path.is_symlink() and ".pyc" not in path.suffixes
    }


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make ``files`` the content of ``folder``; no files means that it ceases to exist.

    The new content is written beside and exchanged in one system call, so a reader, or whoever
    comes after a power cut, sees the old stack or the new one.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".patchkit-{folder.name}."
    sweep(folder.parent, prefix)
    holder = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        fresh = holder / folder.name
        if files:
            _write_files(fresh, files, folder)
            if folder.exists():
                _exchange(fresh, folder)
            else:
                fresh.rename(folder)
        elif folder.exists():
            folder.rename(fresh)
        sync_folder(folder.parent)
    except PermissionError as error:
        raise HostError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _write_files(fresh: Path, files: Mapping[str, bytes], old: Path) -> None:
    """Write a folder whole and make it durable; files that keep their bytes are linked."""
    fresh.mkdir()
    fresh.chmod(0o755)
    for name, data in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if _link(old / name, data, path):
            continue
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(fresh)


def _link(old: Path, data: bytes, new: Path) -> bool:
    """Link an old file that holds ``data`` already; nobody writes to either in place."""
    try:
        if old.is_symlink() or old.read_bytes() != data:
            return False
        os.link(old, new)
    except OSError:
        return False
    return True


def _exchange(fresh: Path, folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        words = (os.fsencode(fresh), os.fsencode(folder))
        if not libc.renameat2(AT_FDCWD, words[0], AT_FDCWD, words[1], RENAME_EXCHANGE):
            return
    # A file system or C library without the exchange: two renames, the old folder kept until
    # the second one is done.
    old = fresh.with_name(f"{folder.name}.old")
    folder.rename(old)
    try:
        fresh.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
