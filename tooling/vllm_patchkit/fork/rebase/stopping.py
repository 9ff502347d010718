"""Carrying patches until one conflicts, and what its work tree is for: stopping and going on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.rebase.carry import Carrier
from vllm_patchkit.fork.rebase.memory import OFF, learn, recall
from vllm_patchkit.fork.rebase.merge import Merged
from vllm_patchkit.fork.rebase.outcome import Status
from vllm_patchkit.fork.rebase.progress import Plan
from vllm_patchkit.fork.series import Series
from vllm_patchkit.fork.store.git import Repository, open_repository
from vllm_patchkit.fork.store.worktree import (
    BASE_REF,
    Session,
    create_work_tree,
    require_settled,
)
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.model import Patch

MARKER = b"<<<<<<< "


@dataclass(frozen=True, slots=True)
class Load:
    """What is carried, and onto what.

    :param plain: the old commits as they are written, where the plan's are formatted.
    """

    store: Repository
    base: BaseTree
    patches: Sequence[Patch]
    console: Console
    plain: Series | None = None


def carry_patches(load: Load, plan: Plan) -> tuple[Plan, Merged | None]:
    """Carry patches until one conflicts or all are done.

    :return: how far it came, and the merge that conflicts.
    """
    carrier = Carrier(
        store=load.store,
        patches=load.patches,
        series=plan.series,
        onto=load.base.commit,
        style=plan.style.find(plan.onto) if plan.style else None,
        plain=load.plain,
    )
    total = len(load.patches)
    with load.console.progress("carry", total, unit="patches", scale=1) as bar:
        bar.advance(plan.index)
        for step in carrier.carry(plan.tip, plan.index):
            bar.advance(1)
            reports = (*plan.reports, step.report)
            if step.report.status == "conflict":
                return replace(plan, tip=step.tip, index=step.index, reports=reports), step.merged
            plan = replace(plan, tip=step.tip, index=step.index + 1, reports=reports)
    return plan, None


def take_resolution(
    store: Repository, session: Session, plan: Plan, base: BaseTree, *, skip: bool
) -> Plan:
    """Take what a work tree holds in place of the patch in conflict (or drop that).

    A plan that was ended between two conflicts has nothing to take: it goes on from where it is.

    :raises StackError: there are unresolved files, or HEAD left the base.
    """
    stopped = bool(plan.reports) and plan.reports[-1].status == "conflict"
    if plan.index < len(plan.series.commits) and not stopped:
        return plan
    with open_repository(session.git_dir, session.work_tree) as repository:
        if plan.index < len(plan.series.commits):
            learn(store, repository)
            status = skip_patch(repository, plan) if skip else settle_patch(repository, plan)
            learn(store, repository)
            report = replace(plan.reports[-1], status=status)
            plan = replace(plan, reports=(*plan.reports[:-1], report), index=plan.index + 1)
        elif skip:
            raise UsageError(
                "no patch is in conflict", hint="commit what is missing, then --continue"
            )
        tip = require_settled(repository)
        require_on_base(repository, base)
    store.run("fetch", "--quiet", "--no-tags", session.work_tree, tip)
    return replace(plan, tip=tip)


def carry_on(load: Load, session: Session, plan: Plan) -> tuple[Plan, bool]:
    """Carry patches, through conflicts that were resolved before, to the first new one.

    :return: how far it came, and whether it stopped there in the session's work tree.
    """
    while True:
        plan, merged = carry_patches(load, plan)
        if merged is None:
            return plan, False
        if not stop_at_conflict(load.store, load.base.commit, session, plan, merged):
            return plan, True
        load.console.note(f"{plan.reports[-1].patch}: resolved as before")
        plan = take_resolution(load.store, session, plan, load.base, skip=False)


def stop_at_conflict(
    store: Repository, base: str, session: Session, plan: Plan, merged: Merged
) -> bool:
    """Put the conflict into a work tree, as ``git cherry-pick`` leaves one.

    The session says that it stopped only once all of it is there: a patch that never came into the
    work tree must not count as one that was skipped there.

    :return: whether it was resolved before, so that nothing is left to do by hand.
    """
    before = replace(plan, reports=plan.reports[:-1])
    session = replace(session, plan={**session.plan, **before.to_json()})
    commit = plan.series.commits[plan.index]
    with work_tree_at(store, session, base, plan) as repository:
        done = repository.capture(*OFF, "cherry-pick", "--allow-empty", commit)
        if not done.status or not (repository.git_dir / "CHERRY_PICK_HEAD").exists():
            reason = done.stderr.decode("utf-8", "replace").strip()
            raise StackError(
                f"{session.work_tree}: git cherry-pick did not stop where the merge did: {reason}",
                hint=f"{session.kind} --abort, and report this",
            )
        _lay_out(store, repository, merged)
        replace(session, plan={**session.plan, **plan.to_json()}).write()
        return recall(store, repository)


def _lay_out(store: Repository, repository: Repository, merged: Merged) -> None:
    """Give the work tree what the merge settled beyond ``git cherry-pick``: the imports."""
    assert repository.work_tree is not None
    for path in _list_names(repository, "--diff-filter=U"):
        stages = merged.stages.get(path)
        entry = store.list_tree(merged.tree, path).get(path)
        if entry is None or (stages is not None and len(stages) != 3):
            continue
        (repository.work_tree / path).write_bytes(store.read_blob(entry.blob))
        if stages is None:
            repository.run("add", "--", path)


@contextmanager
def work_tree_at(
    store: Repository, session: Session, base: str, plan: Plan
) -> Iterator[Repository]:
    """Yield the session's repository, made if it is missing, clean at the plan's tip."""
    if not has_work_tree(session):
        tip = plan.series.tip
        create_work_tree(store, session, base=base, tip=tip, head=plan.tip).close()
    with open_repository(session.git_dir, session.work_tree) as repository:
        # Not a push: what receives one obeys the settings and hooks of the work tree's own.
        repository.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", store.git_dir,
            f"+{plan.tip}:refs/patchkit/head",
        )  # fmt: skip
        repository.run("reset", "--quiet", "--hard", plan.tip)
        session.write()
        yield repository


def has_work_tree(session: Session) -> bool:
    """Return whether the session has its work tree already."""
    return (session.git_dir / "vllm-patchkit" / "session.json").is_file()


def require_on_base(repository: Repository, base: BaseTree) -> None:
    """Refuse a work tree whose HEAD left the new base.

    :raises StackError: it did.
    """
    if repository.capture("merge-base", "--is-ancestor", base.commit, "HEAD").status:
        raise StackError(
            f"{repository.work_tree}: HEAD is not on {base.spec} any more",
            hint=f"go back to it: git log {BASE_REF}.. must list the carried patches",
        )


def skip_patch(repository: Repository, plan: Plan) -> Status:
    """Go back to before the patch in conflict, and return the patch's status."""
    repository.run("reset", "--quiet", "--hard", plan.tip)
    return "skipped"


def settle_patch(repository: Repository, plan: Plan) -> Status:
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


def _list_names(repository: Repository, *words: str) -> list[str]:
    listed = repository.run("diff", "--name-only", "-z", *words)
    return listed.decode("utf-8", "surrogateescape").split("\0")[:-1]


def _require_resolved(repository: Repository) -> None:
    names = ", ".join(_list_names(repository, "--diff-filter=U"))
    unmerged = names.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if unmerged:
        raise StackError(
            f"{repository.work_tree}: not resolved yet: {unmerged}",
            hint="edit them, git add them, then --continue",
        )
    for name in _list_names(repository, "--cached", "--diff-filter=AM", "HEAD"):
        data = repository.run("show", f":{name}")
        if data.startswith(MARKER) or b"\n" + MARKER in data:
            raise StackError(f"{repository.work_tree}: {name} still holds conflict markers")
