"""The parts of a git diff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Op = Literal[" ", "+", "-"]
Contents = dict[str, "bytes | None"]
"""Path -> content, None for no file."""
Read = Callable[[str], "bytes | None"]
"""Gives the content of a file by its path, None where there is no such file."""


class Line(NamedTuple):
    """One line of a hunk. ``content`` keeps its line end; a last line without one has none."""

    op: Op
    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """One ``@@ -old_start,old_count +new_start,new_count @@ section`` and its lines."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    section: bytes
    lines: tuple[Line, ...]

    @property
    def before(self) -> bytes:
        """The bytes that the hunk expects to find."""
        return b"".join(line.content for line in self.lines if line.op != "+")

    @property
    def after(self) -> bytes:
        """The bytes that the hunk leaves."""
        return b"".join(line.content for line in self.lines if line.op != "-")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileDiff:
    """One ``diff --git``: what happens to one file.

    ``old_path`` is None for a new file, ``new_path`` for a deleted one. Paths are relative to
    the target's root, with the ``a/`` and ``b/`` prefixes taken off. ``old_blob`` and
    ``new_blob`` are the ids of the ``index`` line (possibly abbreviated; None without one).
    A binary diff has no hunks; ``payload`` is its text as it is, from ``GIT binary patch`` or
    ``Binary files`` on.
    """

    old_path: str | None
    new_path: str | None
    hunks: tuple[Hunk, ...]
    old_mode: str | None = None
    new_mode: str | None = None
    old_blob: str | None = None
    new_blob: str | None = None
    renamed: bool = False
    copied: bool = False
    similarity: int | None = None
    dissimilarity: int | None = None
    binary: bool = False
    payload: bytes = b""

    @property
    def path(self) -> str:
        """The path that a reader would name: the new one, or the old one of a deletion."""
        path = self.new_path if self.new_path is not None else self.old_path
        assert path is not None
        return path

    def as_edited(self) -> FileDiff:
        """Return the diff without what no hand keeps up: blob ids, and the lines hunks land on."""
        shift = 0
        hunks = []
        for hunk in self.hunks:
            first = hunk.old_start + shift - (hunk.old_count > 0)
            hunks.append(replace(hunk, new_start=first + (hunk.new_count > 0)))
            shift += hunk.new_count - hunk.old_count
        return replace(self, hunks=tuple(hunks), old_blob=None, new_blob=None)

    @property
    def sets_mode(self) -> str | None:
        """The mode that the diff gives its file; None where it leaves it as it is."""
        if self.new_path is None or self.new_mode == self.old_mode:
            return None
        return self.new_mode
