"""The operations on targets: types in, reports out. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.diff.model import Read
from vllm_patchkit.errors import PatchkitError, TargetError, UsageError, WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.applied import Applied
from vllm_patchkit.stack.folder import make_stack
from vllm_patchkit.stack.model import Base
from vllm_patchkit.stack.read import (
    find_stack,
    list_stacks,
    read_lock,
    read_locked,
    read_metadata,
    read_stack,
)
from vllm_patchkit.targets.answers import (
    ChangeReport,
    StackStatus,
    StatusReport,
    TargetInfo,
    VerifyReport,
)
from vllm_patchkit.targets.find import find_target
from vllm_patchkit.targets.inspect import (
    check_requirements,
    find_interruption,
    find_leftovers,
    inspect_target,
)
from vllm_patchkit.targets.model import Target
from vllm_patchkit.targets.records import read_all_applied, read_recorded_files, read_recorded_lock
from vllm_patchkit.targets.state import check_target
from vllm_patchkit.targets.tree import TREE_STATE, Folder
from vllm_patchkit.transaction.disk import Disk

if TYPE_CHECKING:
    from vllm_patchkit.targets.identify import IdentifyReport, StackIdentity

PathLike = str | Path | None


def verify(
    spec: PathLike = None, *, python: str | None = None, stack: PathLike = None
) -> VerifyReport:
    """Return which state a target is in with respect to a stack.

    :param spec: a wheel, an environment or a folder; None is the environment of ``python``.
    :param stack: a stack's name or folder; None is the only one there is.
    """
    folder = choose_stack(stack, spec, python)
    lock = read_lock(folder)
    with closing(find_target(spec, base=read_metadata(folder).base, python=python)) as target:
        report = inspect_target(target, lock)
        return VerifyReport(
            target=TargetInfo.from_target(target),
            report=report,
            interruption=find_interruption(target),
            leftovers=find_leftovers(target, lock, report),
        )


def status(
    spec: PathLike = None, *, python: str | None = None, stack: PathLike = None
) -> StatusReport:
    """Return every stack that is recorded in a target, or else what ``stack`` is in it.

    The record inside the target is all that is needed for stacks that were applied.
    """
    folder = choose_stack(stack, spec, python)
    lock = read_lock(folder)
    with closing(find_target(spec, base=read_metadata(folder).base, python=python)) as target:
        records = read_all_applied(target)
        report = inspect_target(target, lock)
        stacks = [_recorded_status(target, record) for record in records]
        if lock.stack not in {record.stack for record in records}:
            stacks.append(StackStatus(applied=None, report=report))
        return StatusReport(
            target=TargetInfo.from_target(target),
            stacks=tuple(stacks),
            interruption=find_interruption(target),
            leftovers=find_leftovers(target, lock, report),
        )


def _recorded_status(target: Target, record: Applied) -> StackStatus:
    owner = target.distribution
    report = check_target(
        read_recorded_lock(target, record.stack),
        target.read,
        version=owner.version if owner else None,
        recorded=len(record.patches),
        executable=target.executable,
    )
    return StackStatus(applied=record, report=check_requirements(target, record, report))


def apply(
    spec: PathLike = None,
    *,
    python: str | None = None,
    stack: PathLike = None,
    upto: str | None = None,
    dry_run: bool = False,
    output: Path | None = None,
    disk: Disk | None = None,
    console: Console | None = None,
) -> ChangeReport:
    """Apply a stack to a target, as one transaction; a wheel is built anew beside the old one.

    :param upto: the number of the last patch to apply, such as ``0007``; None is all.
    :param output: for a wheel, the folder to write the patched wheel to; None is its own.
    :param console: shows how far the writing of a wheel is.
    :raises TargetError: the target is not in a state that the stack was cut from.
    :raises HostError: no permission, no space.
    """
    from vllm_patchkit.inplace.apply import apply_to_folder

    folder = choose_stack(stack, spec, python)
    source = read_locked(folder)
    count = source.count(upto)
    with closing(find_target(spec, base=source.stack.base, python=python)) as target:
        if isinstance(target, Folder):
            if output is not None:
                raise UsageError(f"{target.location} is no wheel, so nothing is written elsewhere")
            return apply_to_folder(target, source, count, dry_run=dry_run, disk=disk or Disk())
        from vllm_patchkit.operations.wheels import apply_to_wheel
        from vllm_patchkit.targets.wheel import WheelTarget

        assert isinstance(target, WheelTarget)

        return apply_to_wheel(
            target,
            source,
            count,
            dry_run=dry_run,
            output=output,
            console=console or Console(quiet=True),
        )


def revert(
    spec: PathLike = None,
    *,
    python: str | None = None,
    stack: PathLike = None,
    keep_edits: Path | None = None,
    dry_run: bool = False,
    disk: Disk | None = None,
) -> ChangeReport:
    """Take a stack off a target, byte for byte.

    :param stack: None is the one that is recorded in the target.
    :param keep_edits: where to save, as a patch, what was edited in patched files since; they
        are lost otherwise, which is why it is refused then.
    :raises TargetError: edited files; a patched wheel, or what was installed from one.
    """
    from vllm_patchkit.inplace.revert import revert_folder

    folder = choose_stack(stack, spec, python)
    base = read_metadata(folder).base
    with closing(find_target(spec, base=base, python=python)) as target:
        if not isinstance(target, Folder):
            release = f"{base.distribution}=={base.version}"
            raise TargetError(
                f"{target.location} is a wheel; a wheel is never changed",
                hint=f"the unpatched one is: pip download --no-deps {release}",
            )
        return revert_folder(
            target, folder, keep_edits=keep_edits, dry_run=dry_run, disk=disk or Disk()
        )


def identify(
    spec: PathLike = None, *, python: str | None = None, stacks: Sequence[PathLike] = ()
) -> IdentifyReport:
    """Return which patches of which stacks are in a target.

    :param stacks: names or folders; none given, the stacks that are recorded inside, and every
        other one that is at hand and fits the target.
    """
    folders = [find_stack(name) for name in stacks] or list_stacks()
    if not folders:
        raise UsageError("no stack was found", hint="name one with --stack")
    found: list[IdentifyReport] = []
    problems: list[PatchkitError] = []
    for folder in folders:
        try:
            found.append(_identify_target(spec, python, folder))
        except (TargetError, UsageError, WheelError) as error:
            problems.append(error)
    if not found:
        raise problems[0]
    at_hand = [stack for one in found for stack in one.stacks]
    if stacks:
        return replace(found[0], stacks=tuple(at_hand))
    inside = _identify_recorded(spec, python, folders)
    parents = {patch.parent for stack in inside for patch in stack.patches}
    names = {stack.stack for stack in inside} | parents
    others = (stack for stack in at_hand if stack.stack not in names)
    return replace(found[0], stacks=(*inside, *others))


def _identify_recorded(
    spec: PathLike, python: str | None, folders: Sequence[Path]
) -> tuple[StackIdentity, ...]:
    """Return the stacks that the target keeps itself, whatever version of them is at hand."""
    from vllm_patchkit.targets.identify import identify_stack

    for folder in folders:
        with (
            suppress(TargetError, UsageError, WheelError),
            closing(find_target(spec, base=read_metadata(folder).base, python=python)) as target,
        ):
            return tuple(
                identify_stack(
                    make_stack(read_recorded_files(target, record.stack)),
                    read_recorded_lock(target, record.stack),
                    target.read,
                )
                for record in read_all_applied(target)
            )
    return ()


def _identify_target(spec: PathLike, python: str | None, folder: Path) -> IdentifyReport:
    from vllm_patchkit.targets.identify import IdentifyReport

    with closing(find_target(spec, base=read_metadata(folder).base, python=python)) as target:
        return IdentifyReport(
            target=TargetInfo.from_target(target),
            stacks=(_identify(folder, target.read),),
            recorded=read_all_applied(target),
        )


def identify_contents(read: Read, *, stacks: Sequence[PathLike] = ()) -> IdentifyReport:
    """Return which patches are in the files that ``read`` gives, such as a container image's.

    :param read: path relative to site-packages -> content, None where there is no such file.
    """
    from vllm_patchkit.targets.identify import IdentifyReport

    folders = [find_stack(name) for name in stacks] or list_stacks()
    return IdentifyReport(
        target=None, stacks=tuple(_identify(folder, read) for folder in folders), recorded=()
    )


def choose_stack(stack: PathLike, spec: PathLike, python: str | None) -> Path:
    """Return the folder of the stack that is meant: the named one, or the only one that fits.

    A stack for a package fits where the package is; one for any folder fits what is left.

    :raises UsageError: there is no such stack, or several fit; lists them.
    """
    folders = list_stacks()
    if stack is not None or len(folders) < 2:
        return find_stack(stack)
    bases = {folder: read_metadata(folder).base for folder in folders}
    fitting = [one for one in folders if bases[one].root and _fits(bases[one], spec, python)]
    if not fitting and spec is not None and Path(spec).is_dir():
        fitting = [one for one in folders if not bases[one].root and _is_inside(one, Path(spec))]
    packages = [folder for folder in folders if bases[folder].root]
    if len(fitting or packages) == 1:
        # Where nothing fits, what is wrong with the target is said of the only package stack.
        return (fitting or packages)[0]
    return find_stack(None)


def _is_inside(stack: Path, place: Path) -> bool:
    """Return whether a folder has a file, or the record, of a stack for any folder."""
    paths = (entry.path for entry in read_lock(stack).files)
    return any((place / path).exists() for path in (TREE_STATE, *paths))


def _fits(base: Base, spec: PathLike, python: str | None) -> bool:
    try:
        find_target(spec, base=base, python=python).close()
    except PatchkitError:
        return False
    return True


def _identify(folder: Path, read: Read) -> StackIdentity:
    from vllm_patchkit.targets.identify import identify_stack

    return identify_stack(read_stack(folder), read_lock(folder), read)
