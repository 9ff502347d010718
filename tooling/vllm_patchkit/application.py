"""Applying a stack to a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import TargetError, UsageError
from vllm_patchkit.inspection import (
    Inspection,
    find_interruption,
    find_orphans,
    inspect_target,
    read_applied,
)
from vllm_patchkit.plan import (
    Changes,
    base_contents,
    kept_files,
    pair,
    patched_contents,
    require_locked,
)
from vllm_patchkit.reports import ChangeReport, FileChange, TargetInfo
from vllm_patchkit.stack.folder import StackFiles, make_stack
from vllm_patchkit.stack.lock import version_label
from vllm_patchkit.stack.model import Lock, Stack
from vllm_patchkit.stack.read import read_files, read_lock
from vllm_patchkit.target.model import Target
from vllm_patchkit.target.tree import TREE_STATE, Folder
from vllm_patchkit.transaction import journal
from vllm_patchkit.transaction.commit import commit, make_plan
from vllm_patchkit.transaction.disk import Disk
from vllm_patchkit.transaction.journal import Operation
from vllm_patchkit.transaction.lock import hold
from vllm_patchkit.transaction.originals import RECORD_BEFORE
from vllm_patchkit.transaction.record import update_record
from vllm_patchkit.transaction.recover import recover
from vllm_patchkit.verification import Report

SHOWN_FILES = 20
SHOWN_DIGITS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A stack as it lies on disk, parsed, with its lock."""

    files: StackFiles
    stack: Stack
    lock: Lock

    @property
    def label(self) -> str:
        """The version label of the stack."""
        return version_label(self.stack, self.lock)

    @property
    def base(self) -> str:
        """The base release as a message names it."""
        return f"{self.stack.base.distribution} {self.stack.base.version}".strip()

    def count(self, upto: str | None) -> int:
        """Return how many patches ``--upto`` asks for.

        :raises UsageError: there is no patch of that number.
        """
        if upto is None:
            return len(self.stack.patches)
        number = upto.partition("-")[0]
        for index, patch in enumerate(self.stack.patches, 1):
            if number.isdigit() and patch.number == int(number):
                return index
        numbers = [f"{patch.number:04}" for patch in self.stack.patches]
        raise UsageError(
            f"{self.stack.name} has no patch {upto!r}",
            hint=f"its patches are {numbers[0]} to {numbers[-1]}" if numbers else None,
        )


def read_source(folder: Path) -> Source:
    """Return a stack that is fit to be applied: its lock is that of its patches.

    :raises StackError: the lock is missing, or was made of other patches.
    """
    files = read_files(folder)
    source = Source(files=files, stack=make_stack(files), lock=read_lock(folder))
    require_locked(source.stack, source.lock)
    return source


def apply_to_folder(
    target: Folder, source: Source, count: int, *, dry_run: bool, disk: Disk
) -> ChangeReport:
    """Bring a folder to the first ``count`` patches of a stack, as one transaction.

    :raises TargetError: it is not in a state that the stack was cut from, or has more patches.
    """
    with changing(target, "apply", dry_run=dry_run, disk=disk) as recovered:
        inspection = inspect_target(target, source.lock)
        start = require_start(target, source, inspection.report, count)
        changes = {} if start == count else _plan(target, source, inspection, start, count)
        if changes and not dry_run:
            commit_changes(
                target, changes, "apply", source.stack.name, f"apply {source.label}", disk
            )
    return ChangeReport(
        operation="apply",
        target=TargetInfo.from_target(target),
        stack=source.stack.name,
        label=source.label,
        before=start,
        after=count,
        total=len(source.stack.patches),
        done=bool(changes) and not dry_run,
        dry_run=dry_run,
        changes=describe_changes(changes),
        recovered=recovered,
        notes=_notes(target, inspection, start),
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
    with hold(target.root):
        found_journal = journal.read_journal(target.root / target.state)
        if found_journal is None:
            # Dying between two mkdirs leaves no more than this.
            disk.remove_folder(target.root / target.state)
            yield None
            return
        yield recover(target.root, target.state, found_journal, operation, disk)


def commit_changes(
    target: Folder, changes: Changes, operation: Operation, stack: str, title: str, disk: Disk
) -> None:
    """Write the changes as one transaction."""
    plan = make_plan(target.root, changes, operation=operation, stack=stack, title=title)
    contents = {path: after for path, (_, after) in changes.items()}
    commit(target.root, target.state, plan, contents, disk)


def require_start(target: Target, source: Source, report: Report, count: int) -> int:
    """Return how many patches the target has, if the asked number can be reached from there.

    :raises TargetError: saying what stands in the way, file by file.
    """
    if report.applied is None:
        raise TargetError(
            f"{target.location}: {explain_state(report, source)}\n{explain_files(report)}",
            hint=_hint(report, source),
        )
    if report.applied > count:
        raise TargetError(
            f"{target.location} has {report.applied} patches of {source.stack.name}, "
            f"which is more than the {count} asked for",
            hint="take them off first: vllm-patchkit revert",
        )
    return report.applied


def explain_state(report: Report, source: Source) -> str:
    """Return, in a sentence, why a stack cannot be applied to a target in this state."""
    base = source.base
    if report.state == "other-version":
        return f"its files are those of {report.release}; {source.stack.name} is for {base}"
    if report.state == "foreign-stack":
        return f"{report.notes[-1]}, so its files are not those of {base}"
    if report.state == "partial":
        return f"some patches of {source.stack.name} are in some files only"
    bad = [file for file in report.files if file.state in ("drifted", "missing", "extra")]
    return f"{len(bad)} of {len(report.files)} files are neither those of {base} nor patched ones"


def explain_files(report: Report) -> str:
    """Return one line for each file that stands in the way."""
    mixed = report.state == "partial"
    bad = [one for one in report.files if mixed or one.state in ("drifted", "missing", "extra")]
    lines = [
        f"  {one.path}: "
        + (one.note if mixed else f"expected {_short(one.expected)}, found {_short(one.found)}")
        for one in bad[:SHOWN_FILES]
    ]
    if len(bad) > SHOWN_FILES:
        lines.append(f"  and {len(bad) - SHOWN_FILES} more")
    return "\n".join(lines)


def describe_changes(changes: Changes) -> tuple[FileChange, ...]:
    """Return the changes for a report, by path."""
    return tuple(
        FileChange(
            path=path,
            kind="add" if before is None else "delete" if after is None else "modify",
            size_before=len(before or b""),
            size_after=len(after or b""),
        )
        for path, (before, after) in sorted(changes.items())
    )


def _hint(report: Report, source: Source) -> str:
    if report.state == "foreign-stack":
        return "take it off first: vllm-patchkit revert"
    base = source.stack.base
    if not base.distribution:
        return f"put back the files of {source.base}"
    release = f"{base.distribution}=={base.version}"
    return f"reinstall the base: pip install --force-reinstall --no-deps {release}"


def _plan(
    target: Folder, source: Source, inspection: Inspection, start: int, count: int
) -> Changes:
    """Return everything that an apply writes: sources, the applied record, RECORD."""
    stack, lock = source.stack, source.lock
    contents = patched_contents(stack, lock, target.read, start=start, stop=count)
    touched = {file.path for patch in lock.patches[:count] for file in patch.files}
    base = {path: target.read(path) for path in touched}
    base.update(base_contents(stack, lock, target.read, count=start))
    record = target.read(target.record) if target.record else None
    kept = kept_files(
        source.files,
        stack,
        lock,
        count=count,
        base=base,
        record_before=_record_before(target, stack.name, record, start),
    )
    orphans = dict.fromkeys(find_orphans(target, lock, inspection))
    changes = pair({**contents, **orphans}, target.read)
    changes.update(_kept_changes(target, stack.name, kept))
    if target.record is not None and record is not None:
        after = {path: content for path, (_, content) in changes.items()}
        changes[target.record] = (record, update_record(record, after))
    return {path: change for path, change in changes.items() if change[0] != change[1]}


def _record_before(target: Folder, stack: str, record: bytes | None, start: int) -> bytes | None:
    """Return RECORD as it was at the base: now, or when the first patches were applied."""
    if start == 0 or record is None:
        return record
    return target.read(f"{target.state}/{stack}/{RECORD_BEFORE}")


def _kept_changes(target: Folder, stack: str, kept: Mapping[str, bytes]) -> Changes:
    """Return the changes to the folder of applied records; what an older record left goes."""
    folder = f"{target.state}/{stack}"
    after: dict[str, bytes | None] = {f"{folder}/{name}": None for name in target.names(folder)}
    after.update({f"{folder}/{name}": data for name, data in kept.items()})
    if target.state == TREE_STATE:
        # A record in a git checkout is nobody's untracked file.
        after[f"{TREE_STATE}/.gitignore"] = b"*\n"
    return pair(after, target.read)


def _notes(target: Folder, inspection: Inspection, start: int) -> tuple[str, ...]:
    notes = list(inspection.report.notes)
    if start and read_applied(target, inspection.report.stack) is None:
        notes.append("the patches were not applied by vllm-patchkit, so no record of them exists")
    if target.distribution and target.distribution.editable:
        notes.append(f"an editable install; its files are in {target.root}")
    elif target.kind == "environment" and target.record is None:
        notes.append("the distribution has no RECORD; new files will not be uninstalled with it")
    return tuple(notes)


def _short(digest: str | None) -> str:
    return "no file" if digest is None else f"sha256 {digest[:SHOWN_DIGITS]}"
