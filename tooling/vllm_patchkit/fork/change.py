"""A new patch out of changes that somebody made in an environment or a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.digest import blob_id
from vllm_patchkit.errors import TargetError, UsageError
from vllm_patchkit.fork.base import COMPILED, MAX_FILE_BYTES
from vllm_patchkit.fork.edit import OpenStack, append_patch, load_stack
from vllm_patchkit.fork.publish import Published
from vllm_patchkit.fork.rebase.merge import list_conflicts, merge_patch
from vllm_patchkit.fork.store.git import Entry, Person, Repository, git_environment
from vllm_patchkit.fork.store.repository import Change, File, import_commits, open_store
from vllm_patchkit.fork.store.worktree import require_no_session
from vllm_patchkit.host.files import list_files
from vllm_patchkit.host.process import capture
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.modes import mode_of

SKIPPED_FOLDERS = {"__pycache__", ".git", ".vllm-patchkit"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """The changes found in a place, and what they were taken against.

    :param against: ``stack`` (the place has the stack applied) or ``base``.
    """

    files: dict[str, File | None]
    against: str


def capture_patch(
    folder: Path,
    place: Path,
    message: str,
    author: Person,
    console: Console,
    *,
    against: str | None = None,
) -> tuple[Published, Captured]:
    """Add what was changed in ``place`` to the stack, as its last patch.

    :param place: the root that holds the package: site-packages, or a tree.
    :param against: ``base`` or ``stack``; by default whichever the place is closer to.
    :raises TargetError: nothing was changed, or it does not fit on the stack's last patch.
    """
    require_no_session(folder)
    with open_store() as store:
        opened = load_stack(store, folder, console)
        captured = _find_changes(store, opened, place, against)
        parent = opened.series.tip if captured.against == "stack" else opened.base.commit
        (commit,) = import_commits(
            store, parent, [Change(author=author, message=message, files=captured.files)]
        )
        if captured.against == "base" and opened.series.commits:
            commit = _move_to_tip(store, opened, commit, author, message)
        subject = message.partition("\n")[0]
        return append_patch(store, opened, commit, title=f"new: {subject}"), captured


def _find_changes(
    store: Repository, opened: OpenStack, place: Path, against: str | None
) -> Captured:
    root = opened.base.root
    if not (place / root).is_dir():
        raise TargetError(f"{place} has no folder {root}/", hint="give the folder that holds it")
    found = {path: _read(place / path) for path in _list_files(place, root)}
    choices = {}
    for name, commit in (("stack", opened.series.tip), ("base", opened.base.commit)):
        if against in (None, name):
            choices[name] = _compare(found, store.list_tree(commit), root)
    name = min(choices, key=lambda choice: len(choices[choice]))
    if not choices[name]:
        raise TargetError(f"{place} is as the {name} has it: there is nothing to make a patch of")
    return Captured(files=choices[name], against=name)


def _list_files(place: Path, root: str) -> Iterator[str]:
    """Yield the source files below the root; in a git checkout, those that git does not ignore."""
    listed = capture(
        ["git", "-c", "safe.directory=*", "-C", place, "ls-files", "-z", "--cached", "--others",
         "--exclude-standard", "--", root or "."],
        env=git_environment({"GIT_CONFIG_COUNT": "0"}),
    )  # fmt: skip
    if not listed.status and listed.stdout:
        names = sorted(set(listed.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]))
    else:
        names = [file.relative_to(place).as_posix() for file in list_files(place / root)]
    for name in names:
        file = place / name
        skip = SKIPPED_FOLDERS & set(Path(name).parts)
        if not skip and not name.endswith(COMPILED) and file.is_file() and not file.is_symlink():
            yield name


def _read(file: Path) -> File | None:
    if file.stat().st_size > MAX_FILE_BYTES:
        return None
    return File(file.read_bytes(), mode_of(executable=bool(file.stat().st_mode & 0o100)))


def _compare(
    found: dict[str, File | None], entries: dict[str, Entry], root: str
) -> dict[str, File | None]:
    """Return what differs; modes are the release's, for installers do not keep them."""
    changed: dict[str, File | None] = {}
    for path, entry in entries.items():
        file = found.get(path)
        if path not in found and (not root or path.startswith(f"{root}/")):
            changed[path] = None
        elif file is not None and blob_id(file.data) != entry.blob:
            changed[path] = File(file.data, entry.mode)
    for path, file in found.items():
        if path not in entries and file is not None:
            changed[path] = File(file.data)
    return changed


def _move_to_tip(
    store: Repository, opened: OpenStack, commit: str, author: Person, message: str
) -> str:
    merged = merge_patch(store, before=opened.base.commit, after=commit, onto=opened.series.tip)
    if not merged.clean:
        places = ", ".join(f"{item.path}:{item.line}" for item in list_conflicts(store, merged))
        raise TargetError(
            f"the changes were made on the bare base, and collide with the stack at {places}",
            hint="apply the stack to that place first, and make them there",
        )
    return store.write_commit(merged.tree, [opened.series.tip], author, message)


def require_message(message: str) -> str:
    """Return a commit message that ends in one line end.

    :raises UsageError: it is empty.
    """
    text = message.strip("\n")
    if not text.strip():
        raise UsageError("a patch needs a subject", hint='-m "[Core] Do this"')
    return text + "\n"
