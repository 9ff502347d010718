"""Files that come with the program: inside the package, or in the checkout around it.

An installed wheel has them below the package; an editable install leaves them where the checkout
has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parents[1]
PACKED = {"ci": "_ci", "patches": "_stacks", "wheels": "_wheels"}


def shipped_folders(name: str) -> tuple[Path, Path]:
    """Return where the checkout's folder ``name`` may be: in the package, then in the checkout."""
    return PACKAGE / PACKED[name], CHECKOUT / name


def folders_around(name: str, start: Path) -> list[Path]:
    """Return the folders ``name`` of ``start`` and its parents, nearest first."""
    here = start.resolve()
    return [folder / name for folder in (here, *here.parents)]


def find_file(name: str, folders: Iterable[Path]) -> Path | None:
    """Return the file of that name in the first of the folders that has it."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def find_lock(flavor: str, version: str, folders: Iterable[Path]) -> Path | None:
    """Return the locked requirements of a flavor's wheel: of its release, else of any."""
    places = list(folders)
    release = version.partition("+")[0]
    own = find_file(f"requirements-{flavor}-{release}.lock", places)
    return own or find_file(f"requirements-{flavor}.lock", places)
