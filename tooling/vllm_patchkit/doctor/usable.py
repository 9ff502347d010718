"""A file that is what its name promises, or the reason why not."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from vllm_patchkit.doctor.model import Facts

TEXT_LIMIT = 256 << 20
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
WIDEST = 600


class Unusable(Exception):
    """A file is not what its name promises; the message says why, with its name."""


def read_object(path: Path) -> Facts:
    """Return a JSON object as transformers would read it.

    :raises Unusable: there is none.
    """
    require_usable(path)
    if path.stat().st_size > TEXT_LIMIT:
        raise Unusable(f"{path} has {path.stat().st_size >> 20} MiB, too many for JSON")
    try:
        found = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Unusable(f"{path} is not a JSON object")
    return found


def is_folder(path: Path) -> bool:
    """Return whether it is a folder; False where that cannot be seen."""
    try:
        return path.is_dir()
    except OSError:
        return False


def require_usable(path: Path) -> None:
    """Look whether a file is there, may be read, and has content of its own.

    :raises Unusable: says what it is instead.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise Unusable(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no file'}")
        with path.open("rb") as stream:
            start = stream.read(len(LFS_POINTER))
    except FileNotFoundError:
        if path.is_symlink():
            raise Unusable(f"{path} leads to {path.readlink()}, which is not there") from None
        raise Unusable(f"{path} is not there") from None
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    if not start:
        raise Unusable(f"{path} is empty")
    if start == LFS_POINTER:
        raise Unusable(f"{path} is a pointer of Git LFS, not the file (git lfs pull)")


def printable(text: str) -> str:
    """Return what a terminal shows as it is: names in a checkpoint are anybody's."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:WIDEST])
    return shown + ("..." if text[WIDEST:] else "")
