"""Keeping a stack folder in order: lint it, lock it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import PatchkitError, StackError, UsageError
from vllm_patchkit.host.files import replace_file
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.folder import LOCK, METADATA
from vllm_patchkit.stack.ignoring import IGNORABLE, check_ignores, split_findings
from vllm_patchkit.stack.lint import check_files
from vllm_patchkit.stack.lock import (
    add_known,
    format_lock,
    make_lock,
    record_release,
    version_label,
)
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.model import Base, Lock, Metadata, Stack
from vllm_patchkit.stack.read import find_stack, read_files, read_lock, read_stack
from vllm_patchkit.targets.base import open_base, open_release
from vllm_patchkit.targets.find import find_target
from vllm_patchkit.targets.model import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """What :func:`lock` did. ``changed`` is whether ``lock.json`` has other bytes now."""

    stack: Stack
    lock: Lock
    path: Path
    changed: bool


def lint(
    stack: str | Path | None = None,
    *,
    base: str | Path | None = None,
    ignore: Sequence[str] = (),
    console: Console | None = None,
) -> list[Finding]:
    """Return every finding on a stack that is not ignored; none is what a sound one has.

    :param stack: name or folder; None is the only one there is.
    :param base: the wheel, environment or tree it was cut from; None fetches the release.
    :param ignore: codes to pass over, besides those in the stack's ``[lint.ignore]``.
    :raises UsageError: there is no such code, or it cannot be ignored.
    :raises StackError: the folder's files cannot be read at all.
    :raises HostError: the base cannot be had, so that nothing was checked.
    """
    return lint_all(stack, base=base, ignore=ignore, console=console)[0]


def lint_all(
    stack: str | Path | None = None,
    *,
    base: str | Path | None = None,
    ignore: Sequence[str] = (),
    console: Console | None = None,
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that count, and those that are ignored; as :func:`lint`."""
    for code in ignore:
        if code not in IGNORABLE:
            raise UsageError(
                f"{code!r} is no code that can be ignored",
                hint=f"these can: {', '.join(sorted(IGNORABLE))}",
            )
    folder = find_stack(stack)
    files = read_files(folder)
    path = folder / LOCK
    data = path.read_bytes() if path.is_file() else None
    try:
        wanted = parse_metadata(files.metadata, METADATA)
    except StackError:
        # Without a base to name, the rules that need none still apply.
        return split_findings(check_files(files, data, lambda _: None), ignore)
    with closing(open_base(base, wanted.base, console or Console(quiet=True))) as release:
        findings = check_files(files, data, release.read)
        findings += _check_requires(wanted, release)
        findings += check_ignores(wanted.ignores, findings)
        return split_findings(findings, {*ignore, *wanted.ignores})


def _check_requires(metadata: Metadata, release: Target) -> list[Finding]:
    """Return what the base's METADATA has against the stack's requirements; a tree has none."""
    owner = release.distribution
    data = release.read(f"{owner.dist_info}/METADATA") if owner and metadata.requires else None
    if data is None:
        return []
    from vllm_patchkit.wheel.narrowing import narrowing_faults

    return [
        Finding(Code.REQUIREMENT_INVALID, METADATA, f"[wheel] requires {fault}")
        for fault in narrowing_faults(metadata.requires, data)
    ]


def lock(
    stack: str | Path | None = None,
    *,
    base: str | Path | None = None,
    known: Sequence[str] = (),
    release: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
) -> Locked:
    """Write ``lock.json`` of a stack, if its bytes change.

    :param stack: name or folder; None is the only one there is.
    :param base: as for :func:`lint`.
    :param known: wheels or versions of other releases; the hashes of the stack's files in them
        are kept in the lock, so that ``verify`` can name a target of another version.
    :param release: record the digest for the stack's version.
    :raises HunkMismatch: a patch does not apply exactly to the base.
    :raises StackError: the version was released with other content.
    """
    console = console or Console(quiet=True)
    path = find_stack(stack) / LOCK
    found = read_stack(path.parent)
    previous = read_lock(path) if path.is_file() else None
    with closing(open_base(base, found.base, console)) as pristine:
        made = make_lock(found, pristine.read, previous=previous)
    for spec in known:
        version, target = _open_known(spec, found.base, console)
        with closing(target):
            made = add_known(made, version, target.read)
    if release:
        made = record_release(made)
    data = format_lock(made)
    changed = not path.is_file() or path.read_bytes() != data
    if changed and not dry_run:
        replace_file(path, data)
    return Locked(stack=found, lock=made, path=path, changed=changed)


def current_label() -> str | None:
    """Return the version label of the only stack at hand, as it is now; None without one."""
    try:
        folder = find_stack(None)
        return version_label(read_stack(folder), read_lock(folder))
    except PatchkitError:
        return None


def _open_known(spec: str, base: Base, console: Console) -> tuple[str, Target]:
    if not Path(spec).exists() and spec[:1].isdigit():
        target = open_release(base, spec, console)
    else:
        target = find_target(spec, base=base)
    if target.distribution is None:
        raise UsageError(
            f"{spec} does not say which version it is",
            hint="--known takes a wheel, an environment, or a version such as 0.11.1",
        )
    return target.distribution.version, target
