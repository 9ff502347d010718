"""Every state that a stack folder was in before an operation, so that it can be taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import UsageError
from vllm_patchkit.fork.store.git import COMMITTER, Person, Repository
from vllm_patchkit.fork.store.repository import Change, File, import_commits

Files = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation on a stack: its title, and the commit that holds the folder after it."""

    commit: str
    title: str


def stack_key(folder: Path) -> str:
    """Return the name under which the store knows a stack folder."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def record_operation(
    store: Repository, folder: Path, *, before: Files, after: Files, title: str, now_s: int
) -> None:
    """Remember that ``title`` turned ``before`` into ``after``; an absent folder has no files.

    Changes made by hand since the last operation become an entry of their own.
    """
    ref = _ref(folder)
    tip = store.resolve(ref)
    changes = []
    held = read_state(store, tip) if tip else {}
    if tip is None or held != before:
        changes.append(_change("state found", held, before, now_s))
    changes.append(_change(title, before, after, now_s))
    commits = import_commits(store, tip, changes)
    store.run("update-ref", ref, commits[-1])


def _ref(folder: Path) -> str:
    return f"refs/history/{stack_key(folder)}"


def _change(title: str, before: Files, after: Files, now_s: int) -> Change:
    files: dict[str, File | None] = {path: None for path in before if path not in after}
    files.update((path, File(data)) for path, data in after.items() if before.get(path) != data)
    author = Person(COMMITTER[0], COMMITTER[1], f"{now_s} +0000")
    return Change(author=author, message=f"{title}\n", files=files)


def read_state(store: Repository, commit: str) -> dict[str, bytes]:
    """Return the files of a remembered state."""
    entries = store.list_tree(commit)
    return {path: store.read_blob(entry.blob) for path, entry in entries.items()}


def list_operations(store: Repository, folder: Path) -> list[Operation]:
    """Return the operations on a stack, the last one first."""
    if store.resolve(_ref(folder)) is None:
        return []
    rows = store.text("log", "--format=%H %s", _ref(folder)).split("\n")
    return [Operation(commit=row[:40], title=row[41:]) for row in rows if row]


def previous_state(
    store: Repository, folder: Path, current: Files, *, force: bool = False
) -> tuple[str, Files]:
    """Return the title of the last operation, and the files as they were before it.

    :raises UsageError: there is no operation, or the folder was edited since.
    """
    tip = store.resolve(_ref(folder))
    parent = store.resolve(f"{tip}^") if tip else None
    if tip is None or parent is None:
        raise UsageError(
            f"nothing was done to {folder} that could be taken back",
            hint="range-diff --rev REV and --other DIR compare with another version",
        )
    title = store.text("show", "-s", "--format=%s", tip)
    if read_state(store, parent) == dict(current):
        # The last operation was interrupted before it reached the folder.
        forget_last(store, folder)
        return previous_state(store, folder, current, force=force)
    if not force and read_state(store, tip) != dict(current):
        raise UsageError(
            f"{folder} was changed by hand since '{title}'; undo would lose that",
            hint="commit or copy the folder, then undo --force",
        )
    return title, read_state(store, parent)


def forget_last(store: Repository, folder: Path) -> None:
    """Take the last operation off the record."""
    tip = store.resolve(_ref(folder))
    parent = store.resolve(f"{tip}^")
    assert tip is not None
    assert parent is not None
    store.run("update-ref", _ref(folder), parent, tip)
