"""The records that a target keeps of the stacks that were applied to it."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.applied import APPLIED, Applied, parse_applied
from vllm_patchkit.stack.folder import LOCK, METADATA, SERIES, StackFiles
from vllm_patchkit.stack.lock import parse_lock
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.model import Lock
from vllm_patchkit.stack.series import SUFFIX
from vllm_patchkit.targets.model import Target
from vllm_patchkit.transaction import journal
from vllm_patchkit.transaction.bytecode import CACHE


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
    names = target.names(f"{target.state}/{stack}")
    metadata = _read_kept(target, stack, METADATA)
    package = parse_metadata(metadata, f"{target.state}/{stack}/{METADATA}").smoke.package
    return StackFiles(
        place=f"{target.location}/{target.state}/{stack}",
        metadata=metadata,
        own=dict(_read_below(target, stack, package)) if package else {},
        series=_read_kept(target, stack, SERIES),
        patches={name: _read_kept(target, stack, name) for name in names if name.endswith(SUFFIX)},
    )


def _read_below(target: Target, stack: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file below a folder of the record; bytecode is none."""
    for name in target.names(f"{target.state}/{stack}/{folder}"):
        if name == CACHE:
            continue
        path = f"{folder}/{name}"
        if target.names(f"{target.state}/{stack}/{path}"):
            yield from _read_below(target, stack, path)
        else:
            yield path, _read_kept(target, stack, path)


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
