"""Rebasing a stack: carry, stop at a conflict, resume, and only then replace the stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
from vllm_patchkit.fork.rebase.carry import Carrier
from vllm_patchkit.fork.rebase.merge import Merged
from vllm_patchkit.fork.rebase.outcome import PatchReport, Status
from vllm_patchkit.fork.rebase.progress import Plan, StyleRequest
from vllm_patchkit.fork.rebase.style import restyle_series
from vllm_patchkit.fork.series import export_patches
from vllm_patchkit.fork.store.git import Repository, open_repository
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.fork.store.worktree import (
    BASE_REF,
    Session,
    create_work_tree,
    default_work_tree,
    find_session,
    folder_state,
    require_no_session,
    require_settled,
)
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.lint import check_stack
from vllm_patchkit.stack.lock import parse_lock

MARKER = b"<<<<<<< "


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebased:
    """Where a rebase is: finished (``published``), or stopped in a work tree.

    :param faults: why the result does not verify, where it stopped for that.
    :param findings: what lint says of the finished stack.
    """

    reports: tuple[PatchReport, ...]
    published: Published | None = None
    work_tree: Path | None = None
    faults: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def start_rebase(
    folder: Path,
    onto: BaseSpec,
    console: Console,
    *,
    style: StyleRequest | None = None,
    target: Path | None = None,
    work_tree: Path | None = None,
) -> Rebased:
    """Carry a stack onto another release; stop with a work tree at the first conflict.

    :param target: the folder to write the new stack to; the stack's own by default.
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
            series = restyle_series(store, style.find(onto), opened.stack.patches, series)
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
    patches = opened.stack.patches
    carrier = Carrier(
        store=store,
        patches=patches,
        series=plan.series,
        onto=base.commit,
        style=plan.style.find(plan.onto) if plan.style else None,
    )
    with console.progress("rebase", len(patches), unit="patches", scale=1) as bar:
        bar.advance(plan.index)
        for step in carrier.carry(plan.tip, plan.index):
            bar.advance(1)
            plan = replace(
                plan, tip=step.tip, index=step.index + 1, reports=(*plan.reports, step.report)
            )
            if step.report.status == "conflict":
                return _stop(store, base, session, replace(plan, index=step.index), step.merged)
    return _finish(store, opened, base, session, plan)


def _stop(
    store: Repository, base: BaseTree, session: Session, plan: Plan, merged: Merged
) -> Rebased:
    """Put the conflict into a work tree, as ``git cherry-pick`` leaves one."""
    session = replace(session, plan=plan.to_json())
    commit = plan.series.commits[plan.index]
    with _work_tree(store, session, base, plan) as repository:
        done = repository.capture("cherry-pick", "--allow-empty", commit)
        if not done.status or not (repository.git_dir / "CHERRY_PICK_HEAD").exists():
            reason = done.stderr.decode("utf-8", "replace").strip()
            raise StackError(
                f"{session.work_tree}: git cherry-pick did not stop where the merge did: {reason}",
                hint="rebase --abort, and report this",
            )
        _lay_out(store, repository, merged)
    return Rebased(reports=plan.reports, work_tree=session.work_tree)


def _lay_out(store: Repository, repository: Repository, merged: Merged) -> None:
    """Give the work tree what the merge settled beyond ``git cherry-pick``: the imports."""
    assert repository.work_tree is not None
    listed = repository.run("diff", "--name-only", "-z", "--diff-filter=U")
    for path in filter(None, listed.decode("utf-8", "surrogateescape").split("\0")):
        stages = merged.stages.get(path)
        entry = store.list_tree(merged.tree, path).get(path)
        if entry is None or (stages is not None and len(stages) != 3):
            continue
        (repository.work_tree / path).write_bytes(store.read_blob(entry.blob))
        if stages is None:
            repository.run("add", "--", path)


@contextmanager
def _work_tree(
    store: Repository, session: Session, base: BaseTree, plan: Plan
) -> Iterator[Repository]:
    """Yield the session's repository, made if it is missing, clean at the plan's tip."""
    if not _has_work_tree(session):
        tip = plan.series.tip
        create_work_tree(store, session, base=base.commit, tip=tip, head=plan.tip).close()
    with open_repository(session.git_dir, session.work_tree) as repository:
        store.run("push", "--quiet", "--force", session.work_tree, f"{plan.tip}:refs/patchkit/head")
        repository.run("reset", "--quiet", "--hard", plan.tip)
        session.write()
        yield repository


def _has_work_tree(session: Session) -> bool:
    """Return whether the session has its work tree already."""
    return (session.git_dir / "vllm-patchkit" / "session.json").is_file()


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
        session = replace(session, plan=plan.to_json())
        with _work_tree(store, session, base, plan):
            pass
        return Rebased(reports=plan.reports, work_tree=session.work_tree, faults=faults)
    files = lock_former_base(files, opened.base.spec.version, base_reader(store, opened.base))
    findings = check_stack(stack, parse_lock(files["lock.json"]), read)
    if _has_work_tree(session):
        session.announce(files)
    published = publish(store, plan.target, files, title=f"rebase onto {base.spec}")
    if _has_work_tree(session):
        session.remove()
    return Rebased(
        reports=plan.reports,
        published=published,
        findings=tuple(f"{item.code.value} {item.place}: {item.message}" for item in findings),
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
        return Rebased(reports=plan.reports, published=published)
    if state not in session.states:
        raise StackError(
            f"{session.folder} was changed since the rebase was started",
            hint="rebase --abort, and start again",
        )
    with open_store() as store:
        opened = load_stack(store, session.folder, console)
        base = load_base(store, plan.onto, console)
        with open_repository(session.git_dir, session.work_tree) as repository:
            if plan.index < len(plan.series.commits):
                status = _skip(repository, plan) if skip else _settle(repository, plan)
                report = replace(plan.reports[-1], status=status)
                plan = replace(plan, reports=(*plan.reports[:-1], report), index=plan.index + 1)
            elif skip:
                raise UsageError(
                    "no patch is in conflict", hint="commit what is missing, then --continue"
                )
            tip = require_settled(repository)
            require_on_base(repository, base)
        store.run("fetch", "--quiet", "--no-tags", session.work_tree, tip)
        plan = replace(plan, tip=tip)
        session = replace(session, plan=plan.to_json())
        session.write()
        return _advance(store, opened, base, session, plan, console)


def require_on_base(repository: Repository, base: BaseTree) -> None:
    """Refuse a work tree whose HEAD left the new base.

    :raises StackError: it did.
    """
    if repository.capture("merge-base", "--is-ancestor", base.commit, "HEAD").status:
        raise StackError(
            f"{repository.work_tree}: HEAD is not on {base.spec} any more",
            hint=f"go back to it: git log {BASE_REF}.. must list the carried patches",
        )


def _skip(repository: Repository, plan: Plan) -> Status:
    repository.run("reset", "--quiet", "--hard", plan.tip)
    return "skipped"


def _settle(repository: Repository, plan: Plan) -> Status:
    """Commit the resolution, unless the user did, and return the patch's status."""
    if not (repository.git_dir / "CHERRY_PICK_HEAD").exists():
        same = repository.resolve("HEAD") == plan.tip
        return "skipped" if same else "resolved"
    _require_resolved(repository)
    if not repository.capture("diff", "--cached", "--quiet", "HEAD").status:
        repository.run("reset", "--quiet", "--hard", "HEAD")
        return "upstream"
    author = "--reuse-message=CHERRY_PICK_HEAD"
    repository.run("commit", "--quiet", "--no-verify", "--cleanup=verbatim", author)
    return "resolved"


def _require_resolved(repository: Repository) -> None:
    listed = repository.run("diff", "--name-only", "-z", "--diff-filter=U")
    unmerged = [name.decode("utf-8", "replace") for name in listed.split(b"\0") if name]
    if unmerged:
        raise StackError(
            f"{repository.work_tree}: not resolved yet: {', '.join(unmerged)}",
            hint="edit them, git add them, then rebase --continue",
        )
    staged = repository.run("diff", "--cached", "--name-only", "-z", "--diff-filter=AM", "HEAD")
    for name in filter(None, staged.decode("utf-8", "surrogateescape").split("\0")):
        data = repository.run("show", f":{name}")
        if data.startswith(MARKER) or b"\n" + MARKER in data:
            raise StackError(f"{repository.work_tree}: {name} still holds conflict markers")


def _require_rebase(folder: Path) -> Session:
    session = find_session(folder)
    if session is None or session.kind != "rebase":
        raise UsageError(f"{folder.name} is not being rebased")
    return session


def abort_rebase(folder: Path) -> Path:
    """Delete the work tree of a rebase and return where it was; the stack is as it was."""
    session = _require_rebase(folder)
    session.remove()
    return session.work_tree
