"""File modes as ``git apply`` treats them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vllm_patchkit.diff.model import FileDiff

ORDINARY = "100644"
ReadMode = Callable[[str], "str | None"]


def apply_modes(files: Iterable[FileDiff], read: ReadMode) -> dict[str, str | None]:
    """Return the mode that each file has after ``files``, None for one that is gone.

    Only ``old mode``/``new mode`` and ``new file mode`` set one: the mode of an ``index`` line
    says what the author's file had, and git leaves that of the file as it is.

    :param read: gives a file's mode, or None where there is no such file.
    """
    result: dict[str, str | None] = {}
    for diff in files:
        moved = diff.renamed or diff.copied
        source = diff.path if diff.old_path is None else diff.old_path
        before = read(source) if moved or source not in result else result[source]
        if diff.renamed and diff.old_path is not None:
            result.setdefault(diff.old_path, None)
        gone = diff.new_path is None
        result[diff.path] = None if gone else diff.sets_mode or before or ORDINARY
    return result
