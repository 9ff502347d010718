"""One change taken apart into reviewable ones, by where its files lie or by hunk.

The pieces are sorted, so that the same change is always taken apart the same way; after the last
one, every file is as the whole change left it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Literal

from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.diff.paths import folders_above
from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.fork.rebase.carry import DIFF
from vllm_patchkit.fork.rebase.merge import put_blobs
from vllm_patchkit.fork.series import read_line
from vllm_patchkit.fork.store.git import Entry, Repository, open_repository
from vllm_patchkit.fork.store.repository import Change, File
from vllm_patchkit.fork.store.worktree import BASE_REF, Session, require_settled

Way = Literal["file", "folder", "subsystem", "hunk"]
WAYS: tuple[Way, ...] = ("file", "folder", "subsystem")
SUBSYSTEM_TRAILER = re.compile(r"(?m)^Subsystem: .*$")
# Folders that only group others, so that what lies in them is the subsystem.
GROUPING = frozenset({"v1", "src", "lib", "python"})


def group_of(path: str, way: Way, root: str) -> str:
    """Return which piece a file belongs to.

    >>> [group_of("vllm/v1/engine/core.py", way, "vllm") for way in WAYS]
    ['v1/engine/core.py', 'v1/engine', 'engine']
    >>> group_of("vllm/envs.py", "subsystem", "vllm")
    'vllm'
    """
    inside = path.removeprefix(f"{root}/") if root else path
    if way == "file":
        return inside
    folders = inside.split("/")[:-1]
    if way == "folder":
        return "/".join(folders) or root or "."
    named = [name for name in folders if name not in GROUPING]
    return next(iter(named or folders), root or "top")


def place_of(path: str, changed: Collection[str]) -> str:
    """Return the path by which a file is grouped: that of a file where a folder is or was.

    A file cannot go in one piece and what lies below its name come in another.

    >>> place_of("vllm/plug/a.py", {"vllm/plug", "vllm/plug/a.py"})
    'vllm/plug'
    """
    return next((folder for folder in folders_above(path) if folder in changed), path)


def split_change(change: Change, way: Way, root: str) -> list[Change]:
    """Return a change as several; one whose files all belong together stays as it is."""
    groups: dict[str, dict[str, File | None]] = {}
    for path, file in sorted(change.files.items()):
        group = group_of(place_of(path, change.files), way, root)
        groups.setdefault(group, {})[path] = file
    if len(groups) < 2:
        (name,) = groups
        message = _with_subsystem(change.message, name, way)
        return [replace(change, message=message)]
    return [
        replace(
            change, message=_with_subsystem(title(change.message, name), name, way), files=files
        )
        for name, files in sorted(groups.items())
    ]


def title(message: str, piece: str) -> str:
    """Return a commit message whose subject names the piece."""
    subject, separator, rest = message.partition("\n")
    return f"{subject} ({piece}){separator}{rest}"


def _with_subsystem(message: str, name: str, way: Way) -> str:
    if way != "subsystem":
        return message
    return SUBSYSTEM_TRAILER.sub(f"Subsystem: {slug(name)}", message)


def slug(name: str) -> str:
    """Return the name of a subsystem for ``stack.toml``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "top"


def split_patch(session: Session, number: int, way: Way, root: str) -> list[str]:
    """Split one commit of a work tree in its place, and return the new commits' subjects.

    The commits after it keep their trees, so that nothing can conflict.

    :raises UsageError: there is no patch of that number.
    :raises StackError: the work tree is not settled, or there is nothing to split.
    """
    with open_repository(session.git_dir, session.work_tree) as repository:
        head = require_settled(repository)
        base = repository.resolve(f"{BASE_REF}^{{commit}}")
        assert base is not None
        commits = read_line(repository, base, head)
        if not 1 <= number <= len(commits):
            raise UsageError(
                f"the work tree has no patch {number:04d}",
                hint=f"it has 0001 to {len(commits):04d}",
            )
        parent = base if number == 1 else commits[number - 2].oid
        whole = commits[number - 1]
        pieces = list(_trees(repository, parent, whole.oid, way, root))
        if len(pieces) < 2:
            raise StackError(
                f"patch {number:04d} is one piece by {way}",
                hint=f"choose another way: {', '.join((*WAYS, 'hunk'))}",
            )
        subjects = []
        for name, tree in pieces:
            message = title(whole.message, name)
            parent = repository.write_commit(tree, [parent], whole.author, message)
            subjects.append(message.partition("\n")[0])
        for commit in commits[number:]:
            parent = repository.write_commit(commit.tree, [parent], commit.author, commit.message)
        repository.run("reset", "--quiet", "--soft", parent)
    return subjects


def _trees(
    repository: Repository, before: str, after: str, way: Way, root: str
) -> Iterator[tuple[str, str]]:
    """Yield each piece's name, and the tree after it and those before it."""
    groups: dict[str, dict[str, Entry | None]] = {}
    if way == "hunk":
        yield from _hunk_trees(repository, before, after)
        return
    changes = repository.changes(before, after)
    for path, changed in sorted(changes.items()):
        group = group_of(place_of(path, changes), way, root)
        groups.setdefault(group, {})[path] = changed.after
    tree = repository.tree_of(before)
    for name, entries in sorted(groups.items()):
        tree = put_blobs(repository, tree, entries)
        yield name, tree


def _hunk_trees(repository: Repository, before: str, after: str) -> Iterator[tuple[str, str]]:
    """Yield a piece a hunk; a file that is added, deleted or renamed is one piece."""
    old, new = repository.list_tree(before), repository.list_tree(after)
    tree = repository.tree_of(before)
    changed = repository.changes(before, after)
    pieces: dict[str, list[FileDiff]] = {}
    for diff in parse_diff(repository.run(*DIFF, before, after), source="diff"):
        pieces.setdefault(place_of(diff.path, changed), []).append(diff)
    for place, (diff, *others) in pieces.items():
        if others or diff.old_path != diff.new_path or len(diff.hunks) < 2:
            names = (path for one in (diff, *others) for path in (one.old_path, one.new_path))
            tree = put_blobs(repository, tree, {path: new.get(path) for path in names if path})
            yield place, tree
            continue
        data = repository.read_blob(old[diff.path].blob)
        for count in range(1, len(diff.hunks) + 1):
            part = replace(diff, hunks=diff.hunks[:count], old_blob=None, new_blob=None)
            content = apply_diff([part], {diff.path: data}.get)[diff.path]
            assert content is not None
            blob = repository.write_object("blob", content)
            tree = put_blobs(repository, tree, {diff.path: Entry(new[diff.path].mode, blob)})
            yield f"{diff.path}: {count} of {len(diff.hunks)}", tree
