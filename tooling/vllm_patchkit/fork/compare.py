"""Showing what a stack changes, and how two versions of it differ."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, UsageError
from vllm_patchkit.fork.edit import load_stack
from vllm_patchkit.fork.folder import read_folder, replace_folder
from vllm_patchkit.fork.store.git import Repository, git_environment, open_repository
from vllm_patchkit.fork.store.history import previous_state, read_state
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.host.process import run
from vllm_patchkit.host.terminal import Console


def net_diff(folder: Path, console: Console, *words: str, patch: str | None = None) -> bytes:
    """Return the net change of a stack (or one patch) as ``git diff`` writes it.

    :param words: further options of ``git diff``, such as ``--stat``.
    """
    with open_store() as store:
        opened = load_stack(store, folder, console)
        before, after = opened.base.commit, opened.series.tip
        if patch is not None:
            index = opened.stack.place_of(patch)
            before, after = opened.series.parent(index), opened.series.commits[index]
        return store.run("diff", "--full-index", "--no-ext-diff", *words, before, after)


def range_diff(folder: Path, other: Path | str | None, console: Console, *words: str) -> bytes:
    """Return ``git range-diff`` from another version of a stack to this one.

    :param other: a stack folder; a revision of the git repository that the stack lies in; or
        None for the state before the last operation.
    """
    with open_store() as store:
        opened = load_stack(store, folder, console)
        with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
            if not isinstance(other, Path):
                other = _former_folder(store, folder, other, Path(name) / folder.resolve().name)
            former = load_stack(store, other, console)
        sides = [f"{one.base.commit}..{one.series.tip}" for one in (former, opened)]
        argv = ("-c", "core.abbrev=10", "range-diff", "--creation-factor=80")
        return store.run(*argv, *words, *sides)


def _former_folder(store: Repository, folder: Path, revision: str | None, place: Path) -> Path:
    """Write a former state of a stack folder to ``place`` and return it."""
    if revision is None:
        # Nothing is undone, so what was edited by hand since is in no danger.
        _, files = previous_state(store, folder, read_folder(folder), force=True)
        if not files:
            raise UsageError(
                f"there is no earlier version of {folder}", hint="name one with --rev or --other"
            )
    else:
        files = _files_at(folder.resolve(), revision)
    replace_folder(place, files)
    return place


def _files_at(folder: Path, revision: str) -> dict[str, bytes]:
    words = ("rev-parse", "--absolute-git-dir", "--show-prefix")
    try:
        said = run(["git", "-C", folder, *words], env=git_environment())
        git_dir, prefix = said.decode("utf-8", "surrogateescape").split("\n")[:2]
        with open_repository(Path(git_dir)) as repository:
            return read_state(repository, f"{revision}:{prefix}")
    except CommandFailed as failure:
        raise UsageError(
            f"{folder} has no version at {revision}", hint=failure.stderr_tail.strip()
        ) from None
