"""Stacks from disk: the only I/O of this package folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.host.permission import explain_denial
from vllm_patchkit.host.shipped import folders_around, shipped_folders
from vllm_patchkit.stack.folder import (
    LOCK,
    METADATA,
    StackFiles,
    gather_files,
    make_stack,
    package_of,
)
from vllm_patchkit.stack.lock import parse_lock
from vllm_patchkit.stack.locked import LockedStack, make_locked
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.model import Lock, Metadata, Stack


def read_stack(path: Path) -> Stack:
    """Return the stack in the folder ``path``.

    :raises StackError: a file is missing, unreadable or malformed.
    :raises PatchFormatError: a patch is malformed; names file and line.
    """
    return make_stack(read_files(path))


def read_files(path: Path) -> StackFiles:
    """Return the files of the stack folder ``path``, unparsed.

    :raises StackError: a file is missing, or the package that ``stack.toml`` names is.
    """

    def names() -> Iterator[str]:
        for file in path.rglob("*"):
            if file.is_file() and (file.parent == path or not file.is_symlink()):
                yield file.relative_to(path).as_posix()

    files = gather_files(str(path), lambda name: _read(path / name), names())
    package = package_of(files.metadata, files.place)
    if not (path / package).is_dir():
        raise StackError(
            f"{path / METADATA}: [smoke] package is {package!r}, and there is no such folder",
            hint="docs/smoke.md shows what the package is made of",
        )
    return files


def read_metadata(path: Path) -> Metadata:
    """Return what ``stack.toml`` in the stack folder ``path`` says."""
    return parse_metadata(_read(path / METADATA), f"{path}/{METADATA}")


def import_package(path: Path, stack: str, package: str) -> ModuleType:
    """Return a stack's package as a module of this process, under the name that smoke gives it."""
    from importlib.util import module_from_spec, spec_from_file_location

    name = f"patchkit_own_{stack}"
    if name in sys.modules:
        return sys.modules[name]
    place = path / package
    spec = spec_from_file_location(
        name, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def read_lock(path: Path) -> Lock:
    """Return the lock of the stack folder ``path`` (or in the file ``path``).

    :raises StackError: there is none, or it is malformed.
    """
    file = path / LOCK if path.is_dir() else path
    if not file.exists():
        raise StackError(
            f"{file} does not exist", hint=f"write it with: vllm-patchkit lock {path.name}"
        )
    return parse_lock(_read(file), str(file))


def read_locked(path: Path) -> LockedStack:
    """Return the stack in the folder ``path`` with its lock, fit to be applied.

    :raises StackError: the lock is missing, or was made of other patches.
    """
    return make_locked(read_files(path), read_lock(path))


def find_stack(name_or_path: str | Path | None = None, *, start: Path | None = None) -> Path:
    """Return the folder of a stack.

    Looked at in this order: the path itself; ``patches/<name>`` in ``start`` (the current
    folder by default) and its parents; the stacks that come with this package. Without a name,
    the one stack that the nearest of these places holds; a stack for a plain folder, such as a
    model's, is always named.

    :raises UsageError: there is no such stack, or several and no name; lists them.
    """
    if name_or_path is not None and (Path(name_or_path) / METADATA).is_file():
        return Path(name_or_path)
    places = _stack_places(start or Path.cwd())
    if name_or_path is None:
        return _find_only_stack(places)
    for place in places:
        if (place / name_or_path / METADATA).is_file():
            return place / name_or_path
    found = sorted({stack.name for place in places for stack in _list_stacks(place)})
    raise UsageError(
        f"there is no stack {str(name_or_path)!r}",
        hint=f"give a folder with a {METADATA}, or one of: {', '.join(found) or '(none found)'}",
    )


def list_stacks() -> list[Path]:
    """Return the folders of all stacks in the nearest place that holds any (see find_stack)."""
    return next(filter(None, map(_list_stacks, _stack_places(Path.cwd()))), [])


def shipped_stacks() -> list[Path]:
    """Return the folders of the stacks that come with this package, wherever it is called."""
    return next(filter(None, map(_list_stacks, shipped_folders("patches"))), [])


def _find_only_stack(places: list[Path]) -> Path:
    for place in places:
        stacks = _list_stacks(place)
        installed = [stack for stack in stacks if _has_distribution(stack)]
        for only in (installed, stacks):
            if len(only) == 1:
                return only[0]
        if stacks:
            names = ", ".join(stack.name for stack in stacks)
            raise UsageError(f"{place} holds several stacks", hint=f"name one of: {names}")
    raise UsageError("no stack was found", hint=f"give a folder with a {METADATA}")


def _has_distribution(folder: Path) -> bool:
    return bool(read_metadata(folder).base.distribution)


def _stack_places(start: Path) -> list[Path]:
    """Return the folders that may hold stacks, nearest first."""
    return [*folders_around("patches", start), *shipped_folders("patches")]


def _list_stacks(place: Path) -> list[Path]:
    try:
        return sorted(file.parent for file in place.glob(f"*/{METADATA}"))
    except PermissionError:
        # A folder above the current one that this user may not enter holds no stack of theirs.
        return []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise explain_denial(path) from error
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error.strerror}") from error
