"""The records that a target keeps of the stacks that were applied to it."""

from __future__ import annotations

from functools import partial

from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.applied import APPLIED, Applied, parse_applied
from vllm_patchkit.stack.folder import LOCK, StackFiles, gather_files
from vllm_patchkit.stack.lock import parse_lock
from vllm_patchkit.stack.model import Lock
from vllm_patchkit.targets.model import Target
from vllm_patchkit.transaction import journal


def read_applied(target: Target, stack: str) -> Applied | None:
    """Return the record of one stack in a target, or None.

    :raises StackError: it cannot be read.
    """
    path = f"{target.state}/{stack}/{APPLIED}"
    data = target.read(path)
    return None if data is None else parse_applied(data, f"{target.location}: {path}")


def read_all_applied(target: Target) -> tuple[Applied, ...]:
    """Return the record of every stack in a target, by name."""
    names = (name for name in target.names(target.state) if name != journal.FOLDER)
    found = (read_applied(target, name) for name in names if not name.startswith("."))
    return tuple(one for one in found if one is not None)


def read_recorded_lock(target: Target, stack: str) -> Lock:
    """Return the lock that was kept with a record.

    :raises StackError: it is missing or damaged.
    """
    return parse_lock(_read_kept(target, stack, LOCK), f"{target.state}/{stack}/{LOCK}")


def read_recorded_files(target: Target, stack: str) -> StackFiles:
    """Return the stack that was kept with a record, unparsed.

    :raises StackError: a file is missing.
    """
    folder = f"{target.state}/{stack}"
    return gather_files(
        f"{target.location}/{folder}",
        partial(_read_kept, target, stack),
        target.files(folder),
    )


def _read_kept(target: Target, stack: str, name: str) -> bytes:
    path = f"{target.state}/{stack}/{name}"
    data = target.read(path)
    if data is None:
        raise StackError(
            f"{target.location}: {path} is missing from the record of {stack}",
            hint="reinstall the base release, then apply again",
        )
    return data


def title_of(applied: Applied) -> str:
    """Return how a message names an applied stack."""
    return f"{applied.stack} ({applied.label}, {len(applied.patches)} patches)"
