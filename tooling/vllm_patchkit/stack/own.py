"""The scenarios that a stack keeps beside its patches: the package that ``[smoke]`` names."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.folder import METADATA
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.model import Metadata


def read_metadata(folder: Path) -> Metadata:
    """Return what ``stack.toml`` in a stack's folder says."""
    file = folder / METADATA
    return parse_metadata(file.read_bytes(), str(file))


def read_package(folder: Path, package: str) -> dict[str, bytes]:
    """Return the files of a stack's package by their path in the stack's folder.

    :param package: as ``[smoke]`` names it; "" for none.
    :raises StackError: there is no such folder.
    """
    if not package:
        return {}
    place = folder / package
    if not place.is_dir():
        raise StackError(
            f"{folder / METADATA}: [smoke] package is {package!r}, and there is no such folder",
            hint="docs/smoke.md shows what the package is made of",
        )
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }


def import_package(folder: Path, stack: str, package: str) -> ModuleType:
    """Return a stack's package as a module of this process, under the name that smoke gives it."""
    name = f"patchkit_own_{stack}"
    if name in sys.modules:
        return sys.modules[name]
    place = folder / package
    spec = spec_from_file_location(
        name, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
