"""A rebase, a composition or an import that stopped: gone on with, ended, put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vllm_patchkit.diff.model import Read
from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.publish import (
    Published,
    base_reader,
    compile_faults,
    publish,
    replace_stack,
)
from vllm_patchkit.fork.rebase.memory import learn
from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.fork.rebase.progress import Plan, StyleRequest
from vllm_patchkit.fork.rebase.stopping import (
    Load,
    carry_on,
    has_work_tree,
    take_resolution,
    work_tree_at,
)
from vllm_patchkit.fork.store.git import Repository, open_repository
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.fork.store.worktree import Session, find_session, folder_state
from vllm_patchkit.stack.ignoring import split_findings
from vllm_patchkit.stack.lint import check_stack
from vllm_patchkit.stack.locked import LockedStack

# What a stack is not, where no such session is open.
DONE = {"rebase": "rebased", "compose": "composed", "import": "imported"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebased:
    """How far it came: finished (``published``), or stopped in a work tree.

    :param faults: why the result does not verify, where it stopped for that.
    :param findings: what lint says of the finished stack.
    :param rest: the releases that are to follow, and the style that they are asked for with.
    """

    reports: tuple[PatchReport, ...]
    published: Published | None = None
    work_tree: Path | None = None
    faults: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    style: StyleRequest | None = None


def require_session(folder: Path, kind: str) -> Session:
    """Return the open session of a stack.

    :raises UsageError: there is none of that kind.
    """
    session = find_session(folder)
    if session is None or session.kind != kind:
        hint = (
            f"begin one: vllm-patchkit {kind} --help"
            if session is None
            else f"what is open of it is of {session.kind}: {session.work_tree}"
        )
        raise UsageError(f"{folder.name} is not being {DONE[kind]}", hint=hint)
    return session


def abort_session(folder: Path, kind: str) -> Path:
    """Delete a work tree, keep what was resolved in it, and return where it was.

    :raises UsageError: there is no session of that kind.
    """
    session = require_session(folder, kind)
    with open_store() as store, open_repository(session.git_dir, session.work_tree) as repository:
        learn(store, repository)
    session.remove()
    return session.work_tree


def find_finished(
    store: Repository, session: Session, files: Mapping[str, bytes]
) -> Rebased | None:
    """Return the end of a session that was ended right after its stack had taken its place."""
    if folder_state(files) not in session.states[1:]:
        return None
    plan = Plan.from_json(session.plan)
    return end_session(store, session, plan, session.folder, files, title=session.kind)


def require_unchanged(session: Session, state: str, name: str) -> None:
    """Refuse to go on where what the session started from is other by now.

    :param name: what a message calls it.
    :raises StackError: it is.
    """
    if state not in session.states:
        raise StackError(
            f"{name} was changed since the {session.kind} was started",
            hint=f"{session.kind} --abort, and start again",
        )


def go_on(
    store: Repository, session: Session, base: BaseTree, *, skip: bool
) -> tuple[Session, Plan]:
    """Take the resolution of the work tree (or drop the patch), and remember that.

    :raises StackError: there are unresolved files, or HEAD left the base.
    """
    plan = take_resolution(store, session, Plan.from_json(session.plan), base, skip=skip)
    session = _at(session, plan)
    session.write()
    return session, plan


def advance(
    load: Load, session: Session, plan: Plan, finish: Callable[[Load, Session, Plan], Rebased]
) -> Rebased:
    """Carry patches until one conflicts, or all are done and the result can be written."""
    plan, stopped = carry_on(load, session, plan)
    if stopped:
        return Rebased(reports=plan.reports, work_tree=session.work_tree)
    return finish(load, session, plan)


def stop_at_faults(load: Load, session: Session, plan: Plan, faults: tuple[str, ...]) -> Rebased:
    """Leave the finished commits in the work tree, for what does not compile in them."""
    with work_tree_at(load.store, _at(session, plan), load.base.commit, plan):
        pass
    return Rebased(reports=plan.reports, work_tree=session.work_tree, faults=faults)


def _at(session: Session, plan: Plan) -> Session:
    return replace(session, plan={**session.plan, **plan.to_json()})


def end_session(
    store: Repository,
    session: Session,
    plan: Plan,
    folder: Path,
    files: Mapping[str, bytes],
    *,
    title: str,
    faults: tuple[str, ...] = (),
    findings: tuple[str, ...] = (),
) -> Rebased:
    """Let the new stack take its place, and close the work tree."""
    if has_work_tree(session):
        session.announce(files)
    published = publish(store, folder, files, title=title, faults=faults)
    if has_work_tree(session):
        session.remove()
    return Rebased(
        reports=plan.reports,
        published=published,
        findings=findings,
        rest=tuple(session.plan.get("rest", ())),
        style=plan.style,
    )


def end_locked(
    load: Load,
    session: Session,
    plan: Plan,
    folder: Path,
    old: Mapping[str, bytes],
    locked: LockedStack,
    *,
    title: str,
) -> Rebased:
    """Let a verified stack take the place of ``old``; stop where it does not byte-compile."""
    read = base_reader(load.store, load.base)
    faults = compile_faults(locked.stack, read, skip=frozenset())
    if faults:
        return stop_at_faults(load, session, plan, faults)
    files, findings = replace_stack(old, locked), list_findings(locked, read)
    return end_session(load.store, session, plan, folder, files, title=title, findings=findings)


def list_findings(locked: LockedStack, read: Read) -> tuple[str, ...]:
    """Return what lint says of a stack, a line each."""
    findings, _ = split_findings(check_stack(locked.stack, locked.lock, read), locked.stack.ignores)
    return tuple(f"{item.code.value} {item.place}: {item.message}" for item in findings)
