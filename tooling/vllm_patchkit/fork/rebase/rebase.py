"""Rebasing a stack: carry, stop at a conflict, resume, and only then replace the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.fork.base import BaseSpec, load_base
from vllm_patchkit.fork.edit import OpenStack, load_stack
from vllm_patchkit.fork.folder import read_folder
from vllm_patchkit.fork.publish import base_reader, compose_stack
from vllm_patchkit.fork.rebase.progress import Plan, StyleRequest
from vllm_patchkit.fork.rebase.session import (
    Rebased,
    advance,
    end_locked,
    find_finished,
    go_on,
    require_session,
    require_unchanged,
)
from vllm_patchkit.fork.rebase.stopping import Load
from vllm_patchkit.fork.rebase.style import restyle_series
from vllm_patchkit.fork.series import export_patches
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.fork.store.worktree import Session, folder_state, require_no_session
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.lock import add_known

KIND = "rebase"


def start_rebase(
    folder: Path,
    onto: BaseSpec,
    console: Console,
    *,
    style: StyleRequest | None = None,
    target: Path | None = None,
    work_tree: Path | None = None,
    rest: Sequence[str] = (),
) -> Rebased:
    """Carry a stack onto another release; stop with a work tree at the first conflict.

    :param target: the folder to write the new stack to; the stack's own by default.
    :param rest: releases that are to follow; they are only remembered.
    :raises UsageError: the stack is open already, or is on that release.
    """
    require_no_session(folder)
    if target is not None and target.exists():
        raise UsageError(f"{target} exists already", hint="choose another folder for --into")
    with open_store() as store:
        opened = load_stack(store, folder, console)
        base = load_base(store, onto, console)
        if base.commit == opened.base.commit:
            raise UsageError(f"{folder.name} is on {onto} already")
        series = opened.series
        if style is not None:
            found = style.find(onto)
            console.note(f"format with {found.name}")
            series = restyle_series(store, found, opened.stack.patches, series)
        plan = Plan(
            onto=onto,
            target=(target or folder).resolve(),
            commits=(series.base, *series.commits),
            tip=base.commit,
            style=style,
        )
        state = folder_state(opened.files)
        session = Session.begin(folder, KIND, state, work_tree, rest=list(rest))
        load = Load(store, base, opened.stack.patches, console, opened.series)
        return advance(load, session, plan, partial(_finish, opened))


def _finish(opened: OpenStack, load: Load, session: Session, plan: Plan) -> Rebased:
    """Verify the new stack, and only then let it take the old one's place."""
    store, base = load.store, load.base
    patches = export_patches(store, base.commit, plan.tip)
    if not patches:
        raise StackError(
            f"no patch is left: all of {opened.stack.name} is in {base.spec}",
            hint="rebase --abort, and retire the stack",
        )
    read, former = base_reader(store, base), base_reader(store, opened.base)
    locked = compose_stack(opened.folder, opened.files, patches, base, read)
    known = add_known(locked.lock, opened.base.spec.version, former)
    locked = replace(locked, lock=known)
    title = f"rebase onto {base.spec}"
    return end_locked(load, session, plan, plan.target, opened.files, locked, title=title)


def continue_rebase(folder: Path, console: Console, *, skip: bool = False) -> Rebased:
    """Take the resolution of the work tree (or drop the patch), and carry on.

    :raises StackError: there are unresolved files, or the stack changed meanwhile.
    """
    session = require_session(folder, KIND)
    files = read_folder(session.folder)
    with open_store() as store:
        finished = find_finished(store, session, files)
        if finished is not None:
            return finished
        require_unchanged(session, folder_state(files), str(session.folder))
        opened = load_stack(store, session.folder, console)
        base = load_base(store, Plan.from_json(session.plan).onto, console)
        session, plan = go_on(store, session, base, skip=skip)
        load = Load(store, base, opened.stack.patches, console, opened.series)
        return advance(load, session, plan, partial(_finish, opened))
