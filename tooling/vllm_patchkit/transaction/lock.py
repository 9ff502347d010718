"""One process at a time changes a target."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vllm_patchkit.errors import HostError, TargetError


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the target while the block runs.

    The folder itself is locked (``flock``): no lock file is left behind, a read-only folder can
    be locked too, and the kernel lets go when the process dies.

    :raises TargetError: another process holds it.
    :raises HostError: it cannot be opened, or its file system has no locks.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{folder} cannot be opened: {error.strerror}") from error
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Return whether another process is changing the target now."""
    try:
        with hold(folder):
            return False
    except TargetError:
        return True


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise TargetError(
                f"another vllm-patchkit process is changing {folder}",
                hint="wait until it has ended, then try again",
            ) from None
        raise HostError(f"{folder} cannot be locked: {error.strerror}") from error
