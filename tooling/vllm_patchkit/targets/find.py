"""Deciding what kind of target a path is."""

from __future__ import annotations

import os
from pathlib import Path

from vllm_patchkit.errors import TargetError, UsageError
from vllm_patchkit.stack.model import Base
from vllm_patchkit.targets.environment import find_environment, open_site
from vllm_patchkit.targets.model import Target
from vllm_patchkit.targets.tree import open_tree


def find_target(spec: str | Path | None, *, base: Base, python: str | None = None) -> Target:
    """Return the target that ``spec`` names.

    :param spec: a wheel, a virtual environment, a site-packages folder, an unpacked wheel, a
        source tree or a model directory; None is the environment of ``python``.
    :param python: an interpreter (or its environment's folder); None is the current one.
    :raises TargetError: the place does not hold the base.
    :raises UsageError: there is no such place, both are given, or the base is a plain folder and
        ``spec`` is None.
    """
    if spec is not None and python is not None:
        raise UsageError("a target and --python were both given", hint="give one of them")
    if spec is None:
        if not base.root:
            raise UsageError(
                "this stack is for a folder, not for an environment",
                hint="name the folder; without --stack the stack that fits is taken",
            )
        return find_environment(python, base)
    path = Path(spec)
    if path.is_dir():
        return _open_folder(path, base)
    if not path.exists():
        raise UsageError(
            f"there is no {path}", hint="a target is a wheel, an environment or a folder"
        )
    return _open_file(path, base)


def _open_folder(path: Path, base: Base) -> Target:
    if not base.root:
        return open_tree(path)
    if (installed := open_site(path, base)) is not None:
        return installed
    if (path / "pyvenv.cfg").is_file() or (path / "conda-meta").is_dir():
        return find_environment(str(path), base)
    if base.root and not (path / base.root).is_dir():
        raise _no_base(path, base)
    return open_tree(path)


def _no_base(path: Path, base: Base) -> TargetError:
    inside = path.name == base.root and (path / "__init__.py").is_file()
    hint = (
        f"give the folder above it: {path.resolve().parent}"
        if inside
        else f"give the folder that holds {base.root}/, or an environment's folder or Python"
    )
    return TargetError(f"{path} has no folder {base.root}/ of {base.distribution}", hint=hint)


def _open_file(path: Path, base: Base) -> Target:
    if path.suffix == ".whl":
        from vllm_patchkit.targets.wheel import open_wheel

        return open_wheel(path, base)
    if os.access(path, os.X_OK):
        return find_environment(str(path), base)
    raise UsageError(
        f"{path} is neither a wheel nor an interpreter",
        hint="a target is a wheel, an environment or a folder",
    )
