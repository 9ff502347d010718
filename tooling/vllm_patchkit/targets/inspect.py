"""Looking at a target: which state it is in, what did not end in it, what was left in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vllm_patchkit.digest import digest_or_none
from vllm_patchkit.stack.applied import Applied
from vllm_patchkit.stack.histories import file_histories
from vllm_patchkit.stack.model import Lock
from vllm_patchkit.stack.modes import content_digest
from vllm_patchkit.targets.answers import Interruption
from vllm_patchkit.targets.model import Target
from vllm_patchkit.targets.records import read_all_applied, read_applied, title_of
from vllm_patchkit.targets.state import FileVerdict, Report, check_target
from vllm_patchkit.targets.tree import Folder
from vllm_patchkit.transaction import journal
from vllm_patchkit.wheel.requirements import add_requirements, missing_requirements

LEFTOVER_SUFFIXES = (".rej", ".orig")


def inspect_target(target: Target, lock: Lock) -> Report:
    """Return the state of a target with respect to a lock, records taken into account."""
    records = read_all_applied(target)
    mine = next((one for one in records if one.stack == lock.stack), None)
    same = mine is not None and mine.digest == lock.digest
    owner = target.distribution
    report = check_target(
        lock,
        target.read,
        version=owner.version if owner else None,
        foreign=_foreign(lock, None if same else mine, records),
        recorded=len(mine.patches) if mine is not None and same else None,
        executable=target.executable,
    )
    return check_requirements(target, mine, report) if same else report


def check_requirements(target: Target, applied: Applied | None, report: Report) -> Report:
    """Return the report with a verdict on METADATA, if that lacks what a record says it has."""
    path = metadata_path(target)
    data = None if path is None else target.read(path)
    if applied is None or not report.applied or path is None or data is None:
        return report
    missing = missing_requirements(data, applied.requires)
    if not missing:
        return report
    verdict = FileVerdict(
        path=path,
        state="drifted",
        expected=digest_or_none(add_requirements(data, missing)),
        found=digest_or_none(data),
        note=f"lacks {', '.join(missing)}",
    )
    return replace(report, state="drifted", files=(*report.files, verdict))


def metadata_path(target: Target) -> str | None:
    """Return where the METADATA of the target's owner is; None in a tree or editable install."""
    owner = target.distribution
    return f"{owner.dist_info}/METADATA" if owner and not owner.editable else None


def _foreign(lock: Lock, stale: Applied | None, records: Iterable[Applied]) -> str | None:
    if stale is not None:
        return f"{title_of(stale)}, another version of this stack,"
    paths = {history.path for history in file_histories(lock)}
    others = (one for one in records if one.stack != lock.stack)
    shared = (one for one in others if paths & {file.path for file in one.files})
    return next(map(title_of, shared), None)


def find_interruption(target: Target) -> Interruption | None:
    """Return the transaction that did not end in a target, or None.

    :raises TargetError: its journal cannot be read.
    """
    if not isinstance(target, Folder):
        return None
    found = journal.read_journal(target.root / target.state)
    if found is None:
        return None
    running = journal.is_held(target.root)
    if found.plan is None:
        return Interruption(title="a transaction in preparation", operation=None, running=running)
    return Interruption(title=found.plan.title, operation=found.plan.operation, running=running)


def find_leftovers(target: Target, lock: Lock, report: Report) -> tuple[str, ...]:
    """Return files that other ways of patching left beside the stack's, or an older stack did."""
    listed: dict[str, frozenset[str]] = {}
    found: list[str] = []
    for path in (history.path for history in file_histories(lock)):
        folder, _, name = path.rpartition("/")
        names = listed.setdefault(folder, frozenset(target.names(folder or ".")))
        found += [path + suffix for suffix in LEFTOVER_SUFFIXES if name + suffix in names]
    return tuple(sorted([*found, *find_orphans(target, lock, report)]))


def find_orphans(target: Target, lock: Lock, report: Report) -> list[str]:
    """Return files that an older version of this stack added, where the base came back since.

    Each is still as its record says, so that nobody's work is in it.
    """
    stale = read_applied(target, lock.stack)
    if stale is None or stale.digest == lock.digest or report.applied is None:
        return []
    known = {history.path for history in file_histories(lock)}
    added = [file for file in stale.files if file.before is None and file.path not in known]
    return [
        one.path
        for one in added
        if digest_or_none(target.read(one.path)) == content_digest(one.after)
    ]
