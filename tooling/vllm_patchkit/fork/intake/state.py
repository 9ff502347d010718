"""The state of an import: the rules that it keeps to, the tree so far, and what was noticed."""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.intake.note import Kind, Note
from vllm_patchkit.fork.series import TreeState
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.fork.store.repository import File

UNKNOWN_AUTHOR = "unknown author <unknown@localhost.invalid>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How much an import may take upon itself.

    :param strip: components to take off every name (``-p``); None lets the base decide.
    :param max_fuzz: context lines that a hunk may miss; reported, 0 refuses.
    :param python_only: leave out targets that the wheel does not ship, instead of refusing.
    :param author: who wrote the patches that do not say it.
    :param edit: leave hunks that do not apply to a work tree, instead of refusing.
    """

    strip: int | None = None
    max_fuzz: int = 0
    python_only: bool = False
    author: str = UNKNOWN_AUTHOR
    signoff: bool = False
    edit: bool = False


@dataclass(kw_only=True, slots=True)
class Intake:
    """The state of an import: the tree so far, what was noticed, and where a patch is disputed."""

    store: Repository
    base: BaseTree
    rules: Rules
    tree: TreeState
    folders: set[str]
    notes: list[Note] = field(default_factory=list)
    left_out: dict[str, bytes] = field(default_factory=dict)
    origins: dict[str, File | None] = field(default_factory=dict)

    def exists(self, path: str) -> bool:
        """Return whether the tree so far has a file or a folder of that path."""
        return path in self.folders or self.tree.read(path) is not None

    def note(self, kind: Kind, source: str, text: str, hint: str | None = None) -> None:
        """Remember something about a patch."""
        self.notes.append(Note(kind=kind, source=source, text=text, hint=hint))
