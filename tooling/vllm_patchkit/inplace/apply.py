"""Applying a stack to a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

from vllm_patchkit.errors import TargetError
from vllm_patchkit.inplace.changes import (
    METADATA_BEFORE,
    RECORD_BEFORE,
    Changes,
    changed_modes,
    describe_changes,
    kept_files,
    pair,
    settle,
)
from vllm_patchkit.stack.locked import LockedStack
from vllm_patchkit.targets.answers import ChangeReport, TargetInfo
from vllm_patchkit.targets.explain import require_start
from vllm_patchkit.targets.inspect import (
    find_interruption,
    find_orphans,
    inspect_target,
    metadata_path,
)
from vllm_patchkit.targets.records import read_all_applied, read_applied
from vllm_patchkit.targets.state import Report
from vllm_patchkit.targets.tree import TREE_STATE, Folder
from vllm_patchkit.transaction import journal
from vllm_patchkit.transaction.commit import commit, make_plan
from vllm_patchkit.transaction.disk import Disk
from vllm_patchkit.transaction.journal import Operation
from vllm_patchkit.transaction.recover import recover
from vllm_patchkit.wheel.record import update_record
from vllm_patchkit.wheel.requirements import add_requirements, remove_requirements


def apply_to_folder(
    target: Folder, source: LockedStack, count: int, *, dry_run: bool, disk: Disk
) -> ChangeReport:
    """Bring a folder to the first ``count`` patches of a stack, as one transaction.

    :raises TargetError: it is not in a state that the stack was cut from, or has more patches.
    """
    with changing(target, "apply", dry_run=dry_run, disk=disk) as recovered:
        report = inspect_target(target, source.lock)
        start = require_start(target, source, report, count)
        done = start == count and report.state != "drifted"
        patches = source.stack.patches[start:count]
        modes = changed_modes((patch.files for patch in patches), target)
        changes = {} if done else settle(_plan(target, source, report, start, count), modes)
        if changes and not dry_run:
            title = f"apply {source.label}"
            commit_changes(target, changes, modes, "apply", source.stack.name, title, disk)
    return ChangeReport(
        operation="apply",
        target=TargetInfo.from_target(target),
        stack=source.stack.name,
        label=source.label,
        before=start,
        after=count,
        total=source.total,
        done=bool(changes) and not dry_run,
        dry_run=dry_run,
        changes=describe_changes(changes),
        recovered=recovered,
        notes=_notes(target, report, start),
    )


@contextmanager
def changing(
    target: Folder, operation: Operation, *, dry_run: bool, disk: Disk
) -> Iterator[str | None]:
    """Hold the target and finish what was interrupted; give what was done about it.

    A dry run looks only: it neither locks nor recovers, and refuses what needs recovery.
    """
    if dry_run:
        if (found := find_interruption(target)) is not None:
            raise TargetError(
                f"{found.title} did not end in {target.location}",
                hint="without --dry-run it is finished first",
            )
        yield None
        return
    with journal.hold(target.root):
        found_journal = journal.read_journal(target.root / target.state)
        if found_journal is None:
            # Dying between two mkdirs leaves no more than this.
            disk.remove_folder(target.root / target.state)
            yield None
            return
        yield recover(target.root, target.state, found_journal, operation, disk)


def commit_changes(
    target: Folder,
    changes: Changes,
    modes: Mapping[str, bool],
    operation: Operation,
    stack: str,
    title: str,
    disk: Disk,
) -> None:
    """Write the changes as one transaction.

    :param modes: files that have to become executable or cease to be.
    """
    plan = make_plan(
        target.root, changes, operation=operation, stack=stack, title=title, executable=modes
    )
    contents = {path: after for path, (_, after) in changes.items()}
    commit(target.root, target.state, plan, contents, disk)


def _plan(target: Folder, source: LockedStack, report: Report, start: int, count: int) -> Changes:
    """Return everything that an apply writes: sources, the applied record, RECORD."""
    name, lock = source.stack.name, source.lock
    contents = source.apply(target.read, start=start, stop=count)
    touched = {file.path for patch in lock.patches[:count] for file in patch.files}
    base = {path: target.read(path) for path in touched}
    base.update(source.revert(target.read, count=start))
    record = target.read(target.record) if target.record else None
    metadata = _metadata_change(target, source, start)
    kept = kept_files(
        source,
        count=count,
        base=base,
        record_before=_record_before(target, name, record, start),
        metadata_before=_metadata_before(target, name, metadata, start),
    )
    orphans = dict.fromkeys(find_orphans(target, lock, report))
    changes = pair({**contents, **orphans}, target.read)
    changes.update(metadata)
    changes.update(_kept_changes(target, name, kept))
    if target.record is not None and record is not None:
        after = {path: content for path, (_, content) in changes.items()}
        changes[target.record] = (record, update_record(record, after))
    return changes


def _record_before(target: Folder, stack: str, record: bytes | None, start: int) -> bytes | None:
    """Return RECORD as it was at the base: now, or when the first patches were applied."""
    if start == 0 or record is None:
        return record
    return target.read(f"{target.state}/{stack}/{RECORD_BEFORE}")


def _metadata_change(target: Folder, source: LockedStack, start: int) -> Changes:
    """Return what the stack's requirements change in METADATA; nothing where there is none.

    :raises StackError: one of them is not narrower than what the very release requires.
    """
    stack, path = source.stack, metadata_path(target)
    data = target.read(path) if path is not None and stack.requires else None
    if path is None or data is None:
        return {}
    owner = target.distribution
    if start == 0 and owner and f"{owner.name} {owner.version}" == source.base:
        # packaging is slow to import, and few stacks need it.
        from vllm_patchkit.wheel.narrowing import require_narrower

        added = [line for one in read_all_applied(target) for line in one.requires]
        base = remove_requirements(data, [*added, *stack.requires])
        require_narrower(stack.name, stack.requires, base)
    return {path: (data, add_requirements(data, stack.requires))}


def _metadata_before(target: Folder, stack: str, change: Changes, start: int) -> bytes | None:
    """Return METADATA as it was at the base; None where the stack does not change it.

    Another stack that was applied before this one, and changed it, has kept it.
    """
    if not change:
        return None
    names = [stack] if start else []
    names += [one.stack for one in read_all_applied(target) if one.stack != stack]
    kept = (target.read(f"{target.state}/{name}/{METADATA_BEFORE}") for name in names)
    now = (before for before, _ in change.values())
    return next((data for data in chain(kept, now) if data is not None), None)


def _kept_changes(target: Folder, stack: str, kept: Mapping[str, bytes]) -> Changes:
    """Return the changes to the folder of applied records; what an older record left goes."""
    folder = f"{target.state}/{stack}"
    after: dict[str, bytes | None] = {f"{folder}/{name}": None for name in target.files(folder)}
    after.update({f"{folder}/{name}": data for name, data in kept.items()})
    if target.state == TREE_STATE:
        # A record in a git checkout is nobody's untracked file.
        after[f"{TREE_STATE}/.gitignore"] = b"*\n"
    return pair(after, target.read)


def _notes(target: Folder, report: Report, start: int) -> tuple[str, ...]:
    notes = list(report.notes)
    if start and read_applied(target, report.stack) is None:
        notes.append("the patches were not applied by vllm-patchkit, so no record of them exists")
    if target.distribution and target.distribution.editable:
        notes.append(f"an editable install; its files are in {target.root}")
    elif target.kind == "environment" and target.record is None:
        notes.append("the distribution has no RECORD; new files will not be uninstalled with it")
    return tuple(notes)
