"""An import that stops in a work tree where a patch does not apply, and goes on from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.errors import StackError
from vllm_patchkit.fork.base import BaseTree, load_base
from vllm_patchkit.fork.folder import read_folder
from vllm_patchkit.fork.intake.founding import Order, found_stack
from vllm_patchkit.fork.intake.importer import Converted
from vllm_patchkit.fork.rebase.progress import Plan
from vllm_patchkit.fork.rebase.session import (
    Rebased,
    advance,
    end_session,
    find_finished,
    go_on,
    require_session,
    require_unchanged,
)
from vllm_patchkit.fork.rebase.stopping import Load
from vllm_patchkit.fork.series import format_patches
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.fork.store.repository import Change, import_commits, open_store
from vllm_patchkit.fork.store.worktree import START_REF, Session, folder_state
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.folder import make_patch
from vllm_patchkit.stack.model import Patch

KIND = "import"


def start_import(
    store: Repository,
    folder: Path,
    base: BaseTree,
    converted: Sequence[Converted],
    order: Order,
    console: Console,
    *,
    work_tree: Path | None,
) -> Rebased:
    """Carry the patches onto their base; stop with a work tree at the first that conflicts."""
    commits = import_commits(store, base.commit, _chain(converted))
    befores, afters = _pair(base, converted, commits)
    patches = _read_patches(store, base, converted, commits)
    plan = Plan(
        onto=base.spec,
        target=folder.resolve(),
        commits=(base.commit, *afters),
        befores=tuple(befores),
        tip=base.commit,
    )
    mails = {patch.name: patch.data.decode("latin-1") for patch in patches}
    state = folder_state(read_folder(folder))
    session = Session.begin(folder, KIND, state, work_tree, order=order.to_json(), mails=mails)
    return advance(Load(store, base, patches, console), session, plan, _finish)


def _chain(converted: Sequence[Converted]) -> Iterator[Change]:
    """Yield every patch, and before a disputed one what it shall seem to be made on."""
    for one in converted:
        if one.origins:
            yield replace(one.change, message="origin\n", files=one.origins)
        yield one.change


def _pair(
    base: BaseTree, converted: Sequence[Converted], commits: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return for each patch the commit before it and the one with it."""
    line = iter(commits)
    befores: list[str] = []
    afters: list[str] = []
    for one in converted:
        last = afters[-1] if afters else base.commit
        befores.append(next(line) if one.origins else last)
        afters.append(next(line))
    return befores, afters


def _read_patches(
    store: Repository, base: BaseTree, converted: Sequence[Converted], commits: Sequence[str]
) -> list[Patch]:
    """Return the patches with the messages of their commits and the diffs that they came with."""
    mails = format_patches(store, base.commit, commits[-1], "--always")
    by_commit = dict(zip(commits, mails.items(), strict=True))
    _, afters = _pair(base, converted, commits)
    patches = []
    for number, (one, commit) in enumerate(zip(converted, afters, strict=True), 1):
        name, mail = by_commit[commit]
        head, mark, _ = mail.partition(b"\n---\n")
        data = head + mark + b"\n" + format_diff(one.diffs)
        patches.append(make_patch(f"{number:04d}{name[4:]}", data))
    return patches


def _finish(load: Load, session: Session, plan: Plan) -> Rebased:
    """Write the stack, lock it, and close the work tree."""
    store, base = load.store, load.base
    if plan.tip == base.commit:
        raise StackError(
            f"no patch is left to import onto {base.spec}", hint="import --abort ends it"
        )
    order = Order.from_json(session.plan["order"])
    files, faults = found_stack(store, session.folder, base, plan.tip, order)
    title = f"import {sum(name.endswith('.patch') for name in files)} patches"
    return end_session(store, session, plan, session.folder, files, title=title, faults=faults)


def continue_import(folder: Path, console: Console, *, skip: bool = False) -> Rebased:
    """Take the resolution of the work tree (or drop the patch), and carry on.

    :raises StackError: there are unresolved files, or the stack's folder changed meanwhile.
    """
    session = require_session(folder, KIND)
    files = read_folder(session.folder)
    with open_store() as store:
        finished = find_finished(store, session, files)
        if finished is not None:
            return finished
        require_unchanged(session, folder_state(files), str(session.folder))
        base = load_base(store, Plan.from_json(session.plan).onto, console)
        # The store may have been deleted since.
        store.run("fetch", "--quiet", "--no-tags", session.work_tree, START_REF)
        patches = [
            make_patch(name, mail.encode("latin-1")) for name, mail in session.plan["mails"].items()
        ]
        session, plan = go_on(store, session, base, skip=skip)
        return advance(Load(store, base, patches, console), session, plan, _finish)
