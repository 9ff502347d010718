"""Taking a stack off a folder: the reversed patches, applied like any others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.diff.compute import Pair, describe_edits, format_edits
from vllm_patchkit.diff.model import Contents
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.errors import TargetError, UsageError
from vllm_patchkit.host.files import replace_file
from vllm_patchkit.inplace.apply import changing, commit_changes
from vllm_patchkit.inplace.changes import (
    METADATA_BEFORE,
    ORIGINALS,
    RECORD_BEFORE,
    Changes,
    changed_modes,
    describe_changes,
    pair,
    restored_metadata,
    restored_record,
    settle,
    unpack_originals,
)
from vllm_patchkit.stack.applied import Applied
from vllm_patchkit.stack.apply import apply_patches
from vllm_patchkit.stack.locked import LockedStack, make_locked
from vllm_patchkit.stack.read import read_locked, read_metadata
from vllm_patchkit.targets.answers import ChangeReport, TargetInfo
from vllm_patchkit.targets.explain import explain_files, explain_state
from vllm_patchkit.targets.inspect import metadata_path
from vllm_patchkit.targets.records import (
    read_all_applied,
    read_applied,
    read_recorded_files,
    read_recorded_lock,
)
from vllm_patchkit.targets.state import Report, check_target
from vllm_patchkit.targets.tree import TREE_STATE, Folder
from vllm_patchkit.transaction.disk import Disk


@dataclass(frozen=True, kw_only=True, slots=True)
class Patched:
    """What is to be taken off: the stack as the target keeps it, and how much of it is in."""

    source: LockedStack
    applied: Applied | None
    report: Report
    count: int


def revert_folder(
    target: Folder, folder: Path, *, keep_edits: Path | None, dry_run: bool, disk: Disk
) -> ChangeReport:
    """Bring a folder back to its base, as one transaction.

    The stack is the one that is recorded in the target; only where none is, as after ``git am``,
    is it the one in ``folder``.

    :raises TargetError: patched files were edited since, and ``keep_edits`` does not say where
        to save that; or the target was installed from a patched wheel.
    """
    _require_new_file(keep_edits)
    with changing(target, "revert", dry_run=dry_run, disk=disk) as recovered:
        patched = _find_patched(target, folder)
        stack = patched.source.stack
        edits: dict[str, Pair] = {}
        changes: Changes = {}
        modes: dict[str, bool] = {}
        if patched.count or patched.applied is not None:
            _require_in_place(target, patched)
            edits = _find_edits(target, patched)
            if edits and keep_edits is None:
                raise _edited(target, patched, edits)
            undone = map(reverse_diff, (one.files for one in stack.patches[: patched.count][::-1]))
            modes = changed_modes(undone, target)
            changes = settle(_plan(target, patched, edits), modes)
        if changes and not dry_run:
            if edits and keep_edits is not None:
                replace_file(keep_edits.absolute(), format_edits(edits))
            title = f"revert {patched.source.label}"
            commit_changes(target, changes, modes, "revert", stack.name, title, disk)
    return ChangeReport(
        operation="revert",
        target=TargetInfo.from_target(target),
        stack=stack.name,
        label=patched.applied.label if patched.applied else patched.source.label,
        before=patched.count,
        after=0,
        total=len(stack.patches),
        done=bool(changes) and not dry_run,
        dry_run=dry_run,
        changes=describe_changes(changes),
        recovered=recovered,
        kept_edits=tuple(sorted(edits)),
    )


def _require_new_file(path: Path | None) -> None:
    if path is None:
        return
    if path.exists():
        raise UsageError(
            f"{path} exists, and may hold edits that were saved before",
            hint="give another name to --keep-edits",
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to save edits to")


def _find_patched(target: Folder, folder: Path) -> Patched:
    name = read_metadata(folder).name
    applied = read_applied(target, name)
    if applied is None:
        source = read_locked(folder)
        report = _check(target, source, None)
        if report.applied is None:
            raise _not_ours(target, source, report)
        return Patched(source=source, applied=None, report=report, count=report.applied)
    source = make_locked(read_recorded_files(target, name), read_recorded_lock(target, name))
    count = len(applied.patches)
    report = _check(target, source, count)
    if report.applied == 0:
        # Somebody reinstalled the base over the patched files; only the record is left.
        count = 0
    return Patched(source=source, applied=applied, report=report, count=count)


def _check(target: Folder, source: LockedStack, recorded: int | None) -> Report:
    return check_target(source.lock, target.read, recorded=recorded, executable=target.executable)


def _not_ours(target: Folder, source: LockedStack, report: Report) -> TargetError:
    others = [one.stack for one in read_all_applied(target)]
    hint = f"recorded here: {', '.join(others)}; name one with --stack" if others else None
    return TargetError(
        f"{target.location} has no record of {source.stack.name}, and "
        f"{explain_state(report, source)}\n{explain_files(report)}",
        hint=hint or "reinstall the base release",
    )


def _require_in_place(target: Folder, patched: Patched) -> None:
    if patched.applied is None or _kept(target, patched, ORIGINALS) is not None:
        return
    base = patched.source.stack.base
    raise TargetError(
        f"{target.location} was installed from a wheel that was built patched "
        f"({patched.applied.label}); its metadata would still say so after a revert",
        hint=f"install the base: pip install --force-reinstall {base.distribution}=={base.version}",
    )


def _find_edits(target: Folder, patched: Patched) -> dict[str, Pair]:
    """Return path -> (what the patches left, what is there now) of files edited since."""
    if patched.report.applied is not None:
        return {}
    left = _patched_contents(target, patched)
    found = {path: (content, target.read(path)) for path, content in left.items()}
    return {path: both for path, both in found.items() if both[0] != both[1]}


def _patched_contents(target: Folder, patched: Patched) -> Contents:
    originals = _originals(target, patched)
    return apply_patches(patched.source.stack.patches[: patched.count], originals.get)


def _originals(target: Folder, patched: Patched) -> dict[str, bytes]:
    packed = _kept(target, patched, ORIGINALS)
    assert packed is not None
    try:
        return unpack_originals(packed)
    except ValueError as error:
        raise TargetError(
            f"{target.location}: {ORIGINALS} of {patched.source.stack.name} is damaged: {error}",
            hint="reinstall the base release",
        ) from error


def _edited(target: Folder, patched: Patched, edits: dict[str, Pair]) -> TargetError:
    lines = "\n".join(f"  {describe_edits(path, *edits[path])}" for path in sorted(edits))
    return TargetError(
        f"{target.location}: files were edited since {patched.source.stack.name} was applied\n"
        f"{lines}",
        hint="save the edits as a patch and go on: vllm-patchkit revert --keep-edits FILE",
    )


def _plan(target: Folder, patched: Patched, edits: dict[str, Pair]) -> Changes:
    """Return everything that a revert writes: sources, the applied record's removal, RECORD."""
    left = {path: before for path, (before, _) in edits.items()}
    base = patched.source.revert(
        lambda path: left[path] if path in left else target.read(path),
        count=patched.count,
    )
    changes = pair(base, target.read)
    applied: Contents = {path: left.get(path, target.read(path)) for path in base}
    kept = _kept_removal(target, patched.source.stack.name)
    applied.update({path: before for path, (before, _) in kept.items()})
    changes.update(kept)
    metadata = _metadata_change(target, patched)
    changes.update(metadata)
    applied.update({path: before for path, (before, _) in metadata.items()})
    if target.record is not None and (record := target.read(target.record)) is not None:
        restored = {path: after for path, (_, after) in changes.items()}
        edited = {path: after for path, (_, after) in metadata.items()}
        if _kept(target, patched, METADATA_BEFORE) in edited.values():
            edited = {}
        before = _kept(target, patched, RECORD_BEFORE)
        after = restored_record(record, before, applied, restored, edited)
        changes[target.record] = (record, after)
    return changes


def _metadata_change(target: Folder, patched: Patched) -> Changes:
    """Return what taking back the stack's requirements changes in METADATA."""
    applied, path = patched.applied, metadata_path(target)
    data = target.read(path) if path is not None and applied and applied.requires else None
    if applied is None or path is None or data is None:
        return {}
    others = (one for one in read_all_applied(target) if one.stack != applied.stack)
    shared = {requirement for one in others for requirement in one.requires}
    before = _kept(target, patched, METADATA_BEFORE)
    return {path: (data, restored_metadata(data, before, applied.requires, shared))}


def _kept_removal(target: Folder, stack: str) -> Changes:
    folder = f"{target.state}/{stack}"
    gone = [f"{folder}/{name}" for name in target.files(folder)]
    others = [one for one in read_all_applied(target) if one.stack != stack]
    if target.state == TREE_STATE and not others:
        gone.append(f"{TREE_STATE}/.gitignore")
    return pair(dict.fromkeys(gone), target.read)


def _kept(target: Folder, patched: Patched, name: str) -> bytes | None:
    return target.read(f"{target.state}/{patched.source.stack.name}/{name}")
