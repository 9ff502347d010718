"""Keeping a stack folder in order: lint it, lock it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.host.files import replace_file
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.folder import LOCK, METADATA
from vllm_patchkit.stack.lint import check_files
from vllm_patchkit.stack.lock import add_known, format_lock, make_lock, record_release
from vllm_patchkit.stack.metadata import Metadata, parse_metadata
from vllm_patchkit.stack.model import Base, Lock, Stack
from vllm_patchkit.stack.read import read_files, read_lock, read_stack
from vllm_patchkit.targets.base import open_base, open_release
from vllm_patchkit.targets.find import find_target
from vllm_patchkit.targets.model import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """What :func:`lock_stack` did. ``changed`` is whether ``lock.json`` has other bytes now."""

    stack: Stack
    lock: Lock
    path: Path
    changed: bool


def lint_stack(folder: Path, *, base: str | None = None, console: Console) -> list[Finding]:
    """Return every finding on the stack in ``folder``.

    :param base: the wheel, environment or tree it was cut from; None fetches the release.
    :raises StackError: the folder's files cannot be read at all.
    :raises HostError: the base cannot be had, so that nothing was checked.
    """
    files = read_files(folder)
    path = folder / LOCK
    lock = path.read_bytes() if path.is_file() else None
    try:
        wanted = parse_metadata(files.metadata, METADATA)
    except StackError:
        # Without a base to name, the rules that need none still apply.
        return check_files(files, lock, lambda _: None)
    with closing(open_base(base, wanted.base, console)) as release:
        findings = check_files(files, lock, release.read)
        return findings + _check_requires(wanted, release)


def _check_requires(metadata: Metadata, release: Target) -> list[Finding]:
    """Return what the base's METADATA has against the stack's requirements; a tree has none."""
    owner = release.distribution
    data = release.read(f"{owner.dist_info}/METADATA") if owner and metadata.requires else None
    if data is None:
        return []
    from vllm_patchkit.wheel.narrowing import narrowing_faults

    return [
        Finding(code=Code.REQUIREMENT_INVALID, place=METADATA, message=f"[wheel] requires {fault}")
        for fault in narrowing_faults(metadata.requires, data)
    ]


def lock_stack(
    folder: Path,
    *,
    base: str | None = None,
    known: Sequence[str] = (),
    release: bool = False,
    dry_run: bool = False,
    console: Console,
) -> Locked:
    """Write ``lock.json`` of the stack in ``folder``, if its bytes change.

    :param base: as for :func:`lint_stack`.
    :param known: wheels or versions of other releases; the hashes of the stack's files in them
        are kept in the lock, so that ``verify`` can name a target of another version.
    :param release: record the digest for the stack's version.
    :raises HunkMismatch: a patch does not apply exactly to the base.
    :raises StackError: the version was released with other content.
    """
    stack = read_stack(folder)
    path = folder / LOCK
    previous = read_lock(path) if path.is_file() else None
    with closing(open_base(base, stack.base, console)) as pristine:
        lock = make_lock(stack, pristine.read, previous=previous)
    for spec in known:
        version, target = _open_known(spec, stack.base, console)
        with closing(target):
            lock = add_known(lock, version, target.read)
    if release:
        lock = record_release(lock)
    data = format_lock(lock)
    changed = not path.is_file() or path.read_bytes() != data
    if changed and not dry_run:
        replace_file(path, data)
    return Locked(stack=stack, lock=lock, path=path, changed=changed)


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
