"""Editing a stack: commits out of patches, and patches out of commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.fork.base import BaseSpec, BaseTree, load_base, parse_base
from vllm_patchkit.fork.commits import describe_quoted, read_commits
from vllm_patchkit.fork.folder import read_folder, replace_folder
from vllm_patchkit.fork.publish import (
    Published,
    base_reader,
    compile_faults,
    compose_stack,
    publish,
    replace_stack,
    require_stack_folder,
)
from vllm_patchkit.fork.series import (
    Series,
    commit_patches,
    export_commits,
    export_patches,
    read_line,
)
from vllm_patchkit.fork.store.git import Repository, open_repository
from vllm_patchkit.fork.store.history import Operation, forget_last, list_operations, previous_state
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.fork.store.worktree import (
    BASE_REF,
    START_REF,
    Session,
    create_work_tree,
    find_session,
    folder_state,
    require_no_session,
    require_settled,
)
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.folder import METADATA
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.model import Stack
from vllm_patchkit.stack.read import read_stack
from vllm_patchkit.wheel.fetch import keep_wheel
from vllm_patchkit.wheel.metadata import normalize_name


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenStack:
    """A stack folder read, with its base and its commits in the store."""

    folder: Path
    files: dict[str, bytes]
    stack: Stack
    base: BaseTree
    series: Series


def load_stack(
    store: Repository, folder: Path, console: Console, *, edited: bool = False
) -> OpenStack:
    """Return a stack with its base and commits.

    :param edited: take patches that were edited by hand: their hunks count, not their blob ids.
    :raises StackError: the folder is no stack, or a patch does not apply exactly.
    """
    files = require_stack_folder(folder)
    stack = read_stack(folder)
    base = load_base(store, BaseSpec.of_base(stack.base), console)
    patches = [patch.as_edited() if edited else patch for patch in stack.patches]
    try:
        series = commit_patches(store, base.commit, patches)
    except StackError as error:
        # Of several stacks that are opened, each has a 0001.
        raise StackError(f"{folder.name}: {error.message}", hint=error.hint) from error
    return OpenStack(folder=folder, files=files, stack=stack, base=base, series=series)


def take_base(folder: Path, wheel: Path, console: Console) -> None:
    """Keep a wheel as the one that a stack was cut from, for all that reads the base from now on.

    :raises UsageError: it is another release, or another file than the stack says.
    """
    base = parse_metadata(require_stack_folder(folder)[METADATA], str(folder / METADATA)).base
    spec = parse_base(str(wheel))
    if (spec.distribution, spec.version) != (normalize_name(base.distribution), base.version):
        raise UsageError(f"{wheel} is {spec}; {folder.name} is cut from {BaseSpec.of_base(base)}")
    digest = keep_wheel(wheel, console)
    if base.sha256 not in ("", digest):
        raise UsageError(
            f"{wheel} has sha256 {digest}; {folder.name} was cut from {base.wheel}, {base.sha256}",
            hint="find that file, or rebase onto this one",
        )
    with open_store() as store:
        given = load_base(store, spec, console)
        usual = load_base(store, BaseSpec.of_base(base), console)
        trees = {store.resolve(f"{one.commit}^{{tree}}") for one in (given, usual)}
    if len(trees) > 1:
        raise UsageError(
            f"{wheel} has other files than the {spec} that {folder.name} is read with so far",
            hint=f'say in stack.toml which it is: [base] wheel = "{wheel.name}", '
            f'sha256 = "{digest}"',
        )


def open_edit(folder: Path, work_tree: Path | None, console: Console) -> Session:
    """Open a work tree of the base with one commit a patch, and return its session.

    :raises UsageError: the stack is open already, or the place is taken.
    """
    require_no_session(folder)
    with open_store() as store:
        opened = load_stack(store, folder, console)
        session = Session.begin(folder, "edit", folder_state(opened.files), work_tree)
        create_work_tree(store, session, base=opened.base.commit, tip=opened.series.tip)
    return session


def close_edit(folder: Path, *, force: bool) -> Path:
    """Delete the work tree of a stack and return where it was.

    :raises UsageError: there is none.
    :raises StackError: it holds work that was not refreshed, and not ``force``.
    """
    session = require_edit(folder, find_session(folder))
    if not force:
        with open_repository(session.git_dir, session.work_tree) as repository:
            head = require_settled(repository)
            if head != repository.resolve(START_REF):
                raise StackError(
                    f"{session.work_tree} has commits that are not in the stack",
                    hint="refresh first, or close with --force to lose them",
                )
    session.remove()
    return session.work_tree


def require_edit(folder: Path, session: Session | None) -> Session:
    """Return the session of a stack if it is open in a work tree, and not stopped in one.

    :raises UsageError: it is not.
    """
    if session is None:
        raise UsageError(
            f"{folder.name} is not open in a work tree", hint=f"vllm-patchkit edit {folder.name}"
        )
    if session.kind != "edit":
        raise UsageError(
            f"{folder.name} is in the middle of a {session.kind} in {session.work_tree}",
            hint=f"finish with {session.kind} --continue, --skip or --abort",
        )
    return session


def refresh_session(session: Session, console: Console) -> Published:
    """Write a work tree's commits back as the stack's patches.

    :raises StackError: the work tree is not settled, its commits are no line of patches, or the
        stack folder was changed by somebody else meanwhile.
    """
    folder = session.folder
    files = require_stack_folder(folder)
    if folder_state(files) not in session.states:
        raise StackError(
            f"{folder} was changed since the work tree was opened; a refresh would undo that",
            hint="open a second work tree with edit --dir, and cherry-pick from this one",
        )
    with open_store() as store, open_repository(session.git_dir, session.work_tree) as repository:
        head = require_settled(repository)
        # The patches in the folder are about to be replaced; only their base counts.
        metadata = parse_metadata(files[METADATA], str(folder / METADATA))
        base = load_base(store, BaseSpec.of_base(metadata.base), console)
        if repository.resolve(f"{BASE_REF}^{{tree}}") != store.resolve(f"{base.commit}^{{tree}}"):
            raise StackError(
                f"{session.work_tree} is cut from another base than {base.spec}",
                hint="close it and edit again",
            )
        commits = read_line(repository, BASE_REF, head)
        patches = export_commits(repository, BASE_REF, commits)
        result = _publish_patches(
            store, folder, files, patches, base, title="refresh", announce=session.announce
        )
        repository.run("update-ref", START_REF, head)
    return replace(result, notes=describe_quoted(commits))


def _publish_patches(
    store: Repository,
    folder: Path,
    files: dict[str, bytes],
    patches: dict[str, bytes],
    base: BaseTree,
    *,
    title: str,
    announce: Callable[[Mapping[str, bytes]], None] | None = None,
) -> Published:
    """Compose the stack of ``patches`` and put it into its folder.

    :param announce: is told the new files before they are written, so that whoever comes after an
        interruption knows them.
    """
    read = base_reader(store, base)
    locked = compose_stack(folder, files, patches, base, read)
    composed = replace_stack(files, locked)
    faults = compile_faults(locked.stack, read, skip=frozenset(files.values()))
    if announce is not None:
        announce(composed)
    return publish(store, folder, composed, title=title, faults=faults)


def refresh_folder(folder: Path, console: Console) -> Published:
    """Export every patch again, and write them back.

    :raises StackError: the hunks of a patch do not apply exactly.
    """
    with open_store() as store:
        opened = load_stack(store, folder, console, edited=True)
        patches = export_patches(store, opened.base.commit, opened.series.tip)
        return _publish_patches(store, folder, opened.files, patches, opened.base, title="refresh")


def list_changed(folder: Path, console: Console) -> list[str]:
    """Return the names of the patches that :func:`refresh_folder` would change."""
    with open_store() as store:
        opened = load_stack(store, folder, console)
        patches = export_patches(store, opened.base.commit, opened.series.tip)
    own = {patch.name: patch.data for patch in opened.stack.patches}
    return sorted(name for name in patches.keys() | own if patches.get(name) != own.get(name))


def append_patch(store: Repository, opened: OpenStack, commit: str, *, title: str) -> Published:
    """Add one commit, made on the stack's tip, as the stack's last patch."""
    patches = export_patches(store, opened.base.commit, commit)
    done = _publish_patches(store, opened.folder, opened.files, patches, opened.base, title=title)
    return replace(done, notes=describe_quoted(read_commits(store, [commit])))


def undo(folder: Path, *, force: bool) -> str:
    """Put a stack folder back to what it was before the last operation; return that one's title.

    :param force: also where the folder was edited by hand since.
    :raises UsageError: there is nothing to undo.
    """
    with open_store() as store:
        current = read_folder(folder)
        title, files = previous_state(store, folder, current, force=force)
        replace_folder(folder, files)
        forget_last(store, folder)
    return title


def list_history(folder: Path) -> list[Operation]:
    """Return the operations on a stack that undo could take back, the last one first."""
    with open_store() as store:
        return list_operations(store, folder)[:-1]
