"""Rebasing a stack: carry, stop at a conflict, resume, and only then replace the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.fork.base import BaseSpec, BaseTree, load_base
from vllm_patchkit.fork.edit import OpenStack, load_stack
from vllm_patchkit.fork.folder import read_folder
from vllm_patchkit.fork.publish import (
    Published,
    base_reader,
    compile_faults,
    compose_stack,
    lock_former_base,
    publish,
)
from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.fork.rebase.progress import Plan, StyleRequest
from vllm_patchkit.fork.rebase.stopping import (
    abort_session,
    carry_on,
    has_work_tree,
    take_resolution,
    work_tree_at,
)
from vllm_patchkit.fork.rebase.style import restyle_series
from vllm_patchkit.fork.series import export_patches
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.fork.store.worktree import (
    Session,
    default_work_tree,
    find_session,
    folder_state,
    require_no_session,
)
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.ignoring import split_findings
from vllm_patchkit.stack.lint import check_stack
from vllm_patchkit.stack.lock import parse_lock


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebased:
    """Where a rebase is: finished (``published``), or stopped in a work tree.

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
            index=0,
            commits=(series.base, *series.commits),
            tip=base.commit,
            reports=(),
            style=style,
        )
        session = Session(
            work_tree=(work_tree or default_work_tree(folder)).absolute(),
            folder=folder.resolve(),
            kind="rebase",
            states=(folder_state(opened.files),),
            plan={"rest": list(rest)},
        )
        return _advance(store, opened, base, session, plan, console)


def _advance(
    store: Repository,
    opened: OpenStack,
    base: BaseTree,
    session: Session,
    plan: Plan,
    console: Console,
) -> Rebased:
    """Carry patches until one conflicts or all are done."""
    plan, stopped = carry_on(
        store, opened.stack.patches, base, session, plan, console, plain=opened.series
    )
    if stopped:
        return Rebased(reports=plan.reports, work_tree=session.work_tree)
    return _finish(store, opened, base, session, plan)


def _finish(
    store: Repository, opened: OpenStack, base: BaseTree, session: Session, plan: Plan
) -> Rebased:
    """Verify the new stack, and only then let it take the old one's place."""
    read = base_reader(store, base)
    patches = export_patches(store, base.commit, plan.tip)
    if not patches:
        raise StackError(
            f"no patch is left: all of {opened.stack.name} is in {base.spec}",
            hint="rebase --abort, and retire the stack",
        )
    files, stack = compose_stack(opened.folder, opened.files, patches, base, read)
    faults = compile_faults(stack, read, skip=frozenset())
    if faults:
        session = replace(session, plan={**session.plan, **plan.to_json()})
        with work_tree_at(store, session, base.commit, plan):
            pass
        return Rebased(reports=plan.reports, work_tree=session.work_tree, faults=faults)
    files = lock_former_base(files, opened.base.spec.version, base_reader(store, opened.base))
    found = check_stack(stack, parse_lock(files["lock.json"]), read)
    findings, _ = split_findings(found, stack.ignores)
    if has_work_tree(session):
        session.announce(files)
    published = publish(store, plan.target, files, title=f"rebase onto {base.spec}")
    if has_work_tree(session):
        session.remove()
    return Rebased(
        reports=plan.reports,
        published=published,
        findings=tuple(f"{item.code.value} {item.place}: {item.message}" for item in findings),
        rest=tuple(session.plan.get("rest", ())),
        style=plan.style,
    )


def continue_rebase(folder: Path, console: Console, *, skip: bool = False) -> Rebased:
    """Take the resolution of the work tree (or drop the patch), and carry on.

    :raises StackError: there are unresolved files, or the stack changed meanwhile.
    """
    session = _require_rebase(folder)
    plan = Plan.from_json(session.plan)
    files = read_folder(session.folder)
    state = folder_state(files)
    if state in session.states[1:]:
        # It was ended right after the new stack had taken its place.
        with open_store() as store:
            published = publish(store, session.folder, files, title="rebase")
        session.remove()
        rest = tuple(session.plan.get("rest", ()))
        return Rebased(reports=plan.reports, published=published, rest=rest, style=plan.style)
    if state not in session.states:
        raise StackError(
            f"{session.folder} was changed since the rebase was started",
            hint="rebase --abort, and start again",
        )
    with open_store() as store:
        opened = load_stack(store, session.folder, console)
        base = load_base(store, plan.onto, console)
        plan = take_resolution(store, session, plan, base, skip=skip)
        session = replace(session, plan={**session.plan, **plan.to_json()})
        session.write()
        return _advance(store, opened, base, session, plan, console)


def _require_rebase(folder: Path) -> Session:
    session = find_session(folder)
    if session is None or session.kind != "rebase":
        raise UsageError(f"{folder.name} is not being rebased")
    return session


def abort_rebase(folder: Path) -> Path:
    """Delete the work tree of a rebase and return where it was; the stack is as it was."""
    session = _require_rebase(folder)
    return abort_session(session)
