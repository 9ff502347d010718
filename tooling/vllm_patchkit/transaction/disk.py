"""Every change that a transaction makes to a disk goes through here.

One seam has two uses: durability is decided in one place, and a test can stop the process, or
fill the disk, before any single step.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vllm_patchkit.host.files import sync_folder

Fault = Callable[[str, Path], None]

MAX_UNSYNCED = 200
LINK_REFUSED = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES})


def _no_fault(step: str, path: Path) -> None:
    """Let every step happen."""


@dataclass(slots=True)
class Disk:
    """Writes, links, renames and removes; ``fault(step, path)`` is called before each step.

    Written files are synced together by ``sync_written``: a file system commits one batch
    several times faster than as many single files.
    """

    fault: Fault = _no_fault
    unsynced: list[int] = field(default_factory=list)

    def make_folder(self, path: Path) -> None:
        """Create a folder and the missing ones above it."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        self.fault("mkdir", path)
        path.mkdir(exist_ok=True)

    def inherit(self, folder: Path) -> None:
        """Give a folder that was created here the mode and owner of the one above it.

        A strict umask would otherwise hide what it holds from the users of the environment.
        """
        above = folder.parent.stat()
        self.fault("chmod", folder)
        folder.chmod(stat.S_IMODE(above.st_mode) & ~stat.S_ISVTX)
        if os.geteuid() == 0:
            os.chown(folder, above.st_uid, above.st_gid)

    def write(self, path: Path, data: bytes, *, mode: int, owner: tuple[int, int]) -> None:
        """Create a file that ``sync_written`` makes durable. ``owner`` matters to root only."""
        self.fault("create", path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.unsynced.append(handle)
        self.fault("write", path)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        self.fault("chmod", path)
        os.fchmod(handle, mode)
        if os.geteuid() == 0:
            os.fchown(handle, *owner)
        if len(self.unsynced) >= MAX_UNSYNCED:
            self.sync_written()

    def sync_written(self) -> None:
        """Make every file written so far durable.

        The kernel is told to start writing all of them before any one is waited for; on a busy
        disk that takes a third of the time.
        """
        for handle in self.unsynced:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        while self.unsynced:
            self.fault("fsync", Path())
            os.fsync(self.unsynced[-1])
            os.close(self.unsynced.pop())

    def close(self) -> None:
        """Let go of files that will not be needed any more."""
        while self.unsynced:
            os.close(self.unsynced.pop())

    def keep(self, path: Path, kept: Path) -> None:
        """Keep a file's present inode under a second name; a copy where links are not possible."""
        self.fault("link", kept)
        try:
            os.link(path, kept, follow_symlinks=False)
        except OSError as error:
            if error.errno not in LINK_REFUSED:
                raise
            self._copy(path, kept)

    def move(self, source: Path, path: Path) -> None:
        """Rename a file onto its place; from another file system, copy beside it first."""
        self.fault("rename", path)
        try:
            source.replace(path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(source, beside(path))
            self.fault("rename", path)
            beside(path).replace(path)
        self.remove(source)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        if os.path.lexists(path):
            self.fault("unlink", path)
            path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove a folder, if it is there and empty."""
        if path.is_dir() and not any(path.iterdir()):
            self.fault("rmdir", path)
            with suppress(FileNotFoundError):
                path.rmdir()

    def sync(self, folder: Path) -> None:
        """Make what was renamed, created or removed in a folder durable."""
        if folder.is_dir():
            self.fault("fsync", folder)
            sync_folder(folder)

    def _copy(self, source: Path, path: Path) -> None:
        status = source.stat()
        owner = (status.st_uid, status.st_gid)
        self.write(path, source.read_bytes(), mode=stat.S_IMODE(status.st_mode), owner=owner)
        self.sync_written()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def beside(path: Path) -> Path:
    """Return the name of a copy that waits beside ``path`` to be renamed onto it."""
    return path.with_name(f".{path.name}.vllm-patchkit")
