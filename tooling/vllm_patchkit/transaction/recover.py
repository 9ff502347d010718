"""Finishing a transaction in either direction, however far it had come."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.errors import TargetError
from vllm_patchkit.transaction.bytecode import CACHE, cached_bytecode
from vllm_patchkit.transaction.disk import Disk, beside
from vllm_patchkit.transaction.journal import PLAN, ROLLBACK, Entry, Journal, Operation, Plan

Outcome = str
NOTHING, COMPLETED, ROLLED_BACK = "discarded", "completed", "rolled back"


def recover(root: Path, state: str, journal: Journal, operation: Operation, disk: Disk) -> Outcome:
    """Finish what was interrupted, and return what was done.

    Asked for the operation that was interrupted, it is completed; asked for the other one, it
    is rolled back. Both need renames only, so a full disk is no obstacle.

    :raises TargetError: a file was edited since, so that neither state can be reached.
    """
    if journal.plan is None:
        discard(root, state, journal, disk)
        return NOTHING
    _require_recoverable(root, journal, journal.plan)
    if journal.direction == "plan" and journal.plan.operation == operation:
        roll_forward(root, journal.plan, journal, disk)
        outcome = COMPLETED
    else:
        roll_back(root, journal.plan, journal, disk)
        outcome = ROLLED_BACK
    discard(root, state, journal, disk)
    return outcome


def roll_forward(root: Path, plan: Plan, journal: Journal, disk: Disk) -> None:
    """Put the new files in place. What was done already is recognised and left."""
    _invalidate_bytecode(root, plan, disk)
    for folder in plan.folders:
        disk.make_folder(root / folder)
        disk.inherit(root / folder)
    new = journal.folder / "new"
    for index, entry in enumerate(plan.entries):
        if entry.after is None:
            disk.remove(root / entry.path)
        elif os.path.lexists(fresh := new / str(index)):
            disk.move(fresh, root / entry.path)
    _invalidate_bytecode(root, plan, disk)
    for name in plan.prune:
        disk.remove_folder(root / name / CACHE)
        disk.remove_folder(root / name)
    _sync(root, plan, disk)
    _retire(journal, PLAN, disk)


def roll_back(root: Path, plan: Plan, journal: Journal, disk: Disk) -> None:
    """Put the originals back. From its first step on there is no way forward."""
    if os.path.lexists(journal.folder / PLAN):
        disk.move(journal.folder / PLAN, journal.folder / ROLLBACK)
        disk.sync(journal.folder)
    for index, entry in enumerate(plan.entries):
        kept = journal.folder / "old" / str(index)
        if entry.before is None:
            disk.remove(root / entry.path)
        elif os.path.lexists(kept):
            disk.make_folder((root / entry.path).parent)
            disk.move(kept, root / entry.path)
        disk.remove(beside(root / entry.path))
    _invalidate_bytecode(root, plan, disk)
    for name in reversed(plan.folders):
        disk.remove_folder(root / name / CACHE)
        disk.remove_folder(root / name)
    _sync(root, plan, disk)
    _retire(journal, ROLLBACK, disk)


def discard(root: Path, state: str, journal: Journal, disk: Disk) -> None:
    """Remove a journal whose transaction is over, and the folders that only it needed."""
    _retire(journal, PLAN, disk)
    for name in ("new", "old"):
        folder = journal.folder / name
        with suppress(FileNotFoundError):
            for path in sorted(folder.iterdir()):
                disk.remove(path)
        disk.remove_folder(folder)
    disk.remove(journal.folder / f"{PLAN}.part")
    disk.remove_folder(journal.folder)
    disk.remove_folder(root / state)


def _retire(journal: Journal, name: str, disk: Disk) -> None:
    """Remove the plan, durably, before anything that it speaks of is removed."""
    if os.path.lexists(journal.folder / name):
        disk.remove(journal.folder / name)
        disk.sync(journal.folder)


def _require_recoverable(root: Path, journal: Journal, plan: Plan) -> None:
    edited = [entry.path for entry in plan.entries if not _is_either(root, entry)]
    if edited:
        raise TargetError(
            f"{plan.title} was interrupted in {root}, and since then "
            f"{', '.join(edited)} changed to what it was neither before nor after",
            hint=f"put back the originals kept in {journal.folder / 'old'}, "
            "or reinstall the base release",
        )


def _is_either(root: Path, entry: Entry) -> bool:
    try:
        found = sha256_hex((root / entry.path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        found = None
    return found in (entry.before, entry.after)


def _invalidate_bytecode(root: Path, plan: Plan, disk: Disk) -> None:
    for path in cached_bytecode(root, (entry.path for entry in plan.entries)):
        disk.remove(path)


def _sync(root: Path, plan: Plan, disk: Disk) -> None:
    for folder in sorted({entry.path.rpartition("/")[0] for entry in plan.entries}):
        disk.sync(root / folder)
