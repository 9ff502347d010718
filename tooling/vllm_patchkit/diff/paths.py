"""Which file names a patch may carry: relative, plain, inside the tree."""

from __future__ import annotations

import re

# What Linux takes (NAME_MAX, PATH_MAX less its NUL), in bytes.
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4095

ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
DRIVE = re.compile(r"[A-Za-z]:")


def path_fault(path: str) -> str | None:
    """Return why a patch must not name ``path``, or None where it may.

    Patches are hostile input until proven otherwise. Refused is all that could leave the tree
    or mean something else on another system: absolute names, ``..``, empty or ``.`` components,
    backslashes, NUL, drive letters, names that no file system takes, and git's own folder.
    """
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it holds a NUL"
    if "\\" in path:
        return "it holds a backslash"
    if path.startswith("/"):
        return "it is absolute"
    if DRIVE.match(path):
        return "it starts with a drive letter"
    # No character takes more than four bytes.
    if 4 * len(path) > MAX_NAME_BYTES and _is_too_long(path):
        return "it is too long for a file system"
    return next(filter(None, map(_component_fault, path.split("/"))), None)


def _component_fault(name: str) -> str | None:
    if name in ("", "."):
        return "it has an empty component"
    if name == "..":
        return "it leaves the tree with '..'"
    # The two spellings that case-insensitive and 8.3 file systems also take for .git.
    if name.rstrip(" .").lower() in (".git", "git~1"):
        return "it reaches into .git"
    return None


def _is_too_long(path: str) -> bool:
    # A byte that is no UTF-8 stands there as one surrogate.
    data = ESCAPED_BYTE.sub("?", path).encode("utf-8", "surrogatepass")
    return len(data) > MAX_PATH_BYTES or max(map(len, data.split(b"/"))) > MAX_NAME_BYTES


def require_plain(path: str) -> str:
    """Return ``path`` if a patch may name it.

    :raises ValueError: it could leave the tree; says how.
    """
    fault = path_fault(path)
    if fault is not None:
        raise ValueError(f"the file name {path!r} is refused: {fault}")
    return path


def folders_above(path: str) -> list[str]:
    """Return the folders that a file lies in, outermost first.

    >>> folders_above("vllm/v1/request.py")
    ['vllm', 'vllm/v1']
    """
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def is_inside(path: str, root: str) -> bool:
    """Return whether ``path`` lies below ``root`` (``""`` is the whole tree)."""
    return not root or path.startswith(root.rstrip("/") + "/")
