"""Bytecode that Python cached of files which are about to change.

Python trusts a ``.pyc`` whose source has the recorded size and time (in whole seconds), and one
with an unchecked hash whatever the source holds (PEP 552). So it is removed, not left to age.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

CACHE = "__pycache__"


def cached_bytecode(root: Path, paths: Iterable[str]) -> list[Path]:
    """Return the bytecode files of some sources: every interpreter's, every optimisation level.

    :param paths: relative to ``root``; what is no ``.py`` file has no bytecode.
    """
    stems: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name.endswith(".py"):
            stems[folder].add(name[:-3])
    found: list[Path] = []
    for folder, names in stems.items():
        for cache in _cache_folders(root / folder):
            found += [cache / name for name in _listed(cache) if _stem(name) in names]
    return sorted(found)


def _cache_folders(folder: Path) -> list[Path]:
    prefix = os.environ.get("PYTHONPYCACHEPREFIX") or sys.pycache_prefix
    folders = [folder / CACHE]
    if prefix:
        folders.append(Path(prefix, *folder.parts[1:]))
    return folders


def _listed(cache: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(cache)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stem(name: str) -> str:
    """Return the module of ``module.cpython-312.opt-1.pyc``; of another file, nothing."""
    return name.partition(".")[0] if ".pyc" in name else ""
