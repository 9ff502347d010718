"""Committing changes to a folder: entirely, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from vllm_patchkit.diff.paths import folders_above
from vllm_patchkit.digest import digest_or_none, sha256_hex
from vllm_patchkit.errors import HostError, TargetError, first_few
from vllm_patchkit.transaction.disk import Disk
from vllm_patchkit.transaction.journal import (
    FOLDER,
    PLAN,
    Entry,
    Journal,
    Operation,
    Plan,
    format_plan,
)
from vllm_patchkit.transaction.recover import discard, roll_back, roll_forward

NEW_FILE_MODE = 0o644
READ = 0o444


def make_plan(
    root: Path,
    changes: Mapping[str, tuple[bytes | None, bytes | None]],
    *,
    operation: Operation,
    stack: str,
    title: str,
    executable: Mapping[str, bool] | None = None,
) -> Plan:
    """Return the plan of a transaction.

    :param changes: path -> content before and after; None where there is no file.
    :param executable: files of which it is decided whether they are.
    """
    modes = executable or {}
    entries = tuple(
        Entry(
            path=path,
            before=digest_or_none(before),
            after=digest_or_none(after),
            executable=modes.get(path),
        )
        for path, (before, after) in changes.items()
        if before != after or path in modes
    )
    created = [entry.path for entry in entries if entry.after is not None]
    deleted = [entry.path for entry in entries if entry.after is None]
    return Plan(
        operation=operation,
        stack=stack,
        title=title,
        entries=entries,
        folders=_missing_folders(root, created),
        prune=_folders_above(deleted),
    )


def commit(
    root: Path, state: str, plan: Plan, contents: Mapping[str, bytes | None], disk: Disk
) -> None:
    """Bring ``root`` to the state after ``plan``; on any failure it is as it was before.

    :param state: the folder of applied records, relative to ``root``; the journal lives there.
    :param contents: path -> content after.
    :raises TargetError: a file is not what the plan expects.
    :raises HostError: no space, no permission.
    """
    require_writable(root, [state, *(entry.path for entry in plan.entries)])
    journal = Journal(folder=root / state / FOLDER, plan=plan)
    try:
        _prepare(root, journal, plan, contents, disk)
    except BaseException as error:
        disk.close()
        discard(root, state, journal, disk)
        _explain(error, root)
        raise
    try:
        roll_forward(root, plan, journal, disk)
    except BaseException as error:
        disk.close()
        roll_back(root, plan, journal, disk)
        _explain(error, root)
        raise
    finally:
        discard(root, state, journal, disk)


def require_writable(root: Path, paths: Iterable[str]) -> None:
    """Raise HostError, naming the folders, unless every file could be created or replaced."""
    denied: set[Path] = set()
    for name in {path.rpartition("/")[0] for path in paths}:
        folder = root / name
        while not folder.is_dir():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            denied.add(folder)
    if denied:
        raise HostError(
            f"{first_few(sorted(denied), 3)} cannot be written; nothing was changed",
            hint="run as the owner of the environment, or patch a wheel and install that",
        )


def _prepare(
    root: Path, journal: Journal, plan: Plan, contents: Mapping[str, bytes | None], disk: Disk
) -> None:
    new, old = journal.folder / "new", journal.folder / "old"
    disk.make_folder(new)
    disk.make_folder(old)
    status = root.stat()
    for index, entry in enumerate(plan.entries):
        mode, owner = NEW_FILE_MODE, (status.st_uid, status.st_gid)
        if entry.before is not None:
            disk.keep(root / entry.path, old / str(index))
            mode, owner = _require_unchanged(root, entry, old / str(index))
        if entry.after is not None:
            content = contents[entry.path]
            assert content is not None
            mode = _with_execution(mode, executable=entry.executable)
            disk.write(new / str(index), content, mode=mode, owner=owner)
    part = journal.folder / f"{PLAN}.part"
    disk.write(part, format_plan(plan), mode=0o600, owner=(status.st_uid, status.st_gid))
    disk.sync_written()
    for folder in (new, old):
        disk.sync(folder)
    disk.move(part, journal.folder / PLAN)
    for folder in (journal.folder, journal.folder.parent, journal.folder.parent.parent):
        disk.sync(folder)


def _with_execution(mode: int, *, executable: bool | None) -> int:
    """Return a mode in which whoever may read may execute, or nobody; None leaves it."""
    if executable is None:
        return mode
    return mode | (mode & READ) >> 2 if executable else mode & ~(READ >> 2)


def _require_unchanged(root: Path, entry: Entry, kept: Path) -> tuple[int, tuple[int, int]]:
    """Check the original that was kept; return its mode and its owner."""
    # A relative symbolic link leads nowhere from the journal, so it is followed from its place.
    original = root / entry.path if kept.is_symlink() else kept
    if sha256_hex(original.read_bytes()) != entry.before:
        raise TargetError(
            f"{root / entry.path} changed while the transaction was being prepared",
            hint="see who else writes there, then try again",
        )
    status = original.stat()
    return stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)


def _explain(error: BaseException, root: Path) -> None:
    if not isinstance(error, OSError):
        return
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise HostError(
            f"no space left for {root}; nothing was changed", hint="free some space, then try again"
        ) from error
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        raise HostError(
            f"{error.filename or root} cannot be written; nothing was changed"
        ) from error


def _missing_folders(root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    missing: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder and folder not in missing and not (root / folder).is_dir():
            missing.add(folder)
            folder = folder.rpartition("/")[0]
    return tuple(sorted(missing))


def _folders_above(paths: Iterable[str]) -> tuple[str, ...]:
    folders = {folder for path in paths for folder in folders_above(path)}
    return tuple(sorted(folders, key=lambda folder: (-folder.count("/"), folder)))
