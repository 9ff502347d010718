"""Patches on their way upstream: a mailbox, a bundle, a branch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import CommandFailed, StackError, UsageError
from vllm_patchkit.fork.base import BaseTree, load_base, parse_base
from vllm_patchkit.fork.commits import author_of, commit_message
from vllm_patchkit.fork.edit import OpenStack, load_stack
from vllm_patchkit.fork.leftout import find_left_out, format_left_out
from vllm_patchkit.fork.rebase.merge import list_conflicts, merge_patch
from vllm_patchkit.fork.series import export_patches
from vllm_patchkit.fork.store.git import Repository, git_environment
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.host.process import run
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.model import Stack

# DEP-3 fields say what a patch is to the fork that carries it; upstream wants none of them.
FORK_TRAILERS = re.compile(
    r"(?mi)^(?:Subsystem|Origin|Forwarded|Last-Update|Applied-Upstream): .*\n"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which patches are to be exported, and in which form.

    :param upto: number or name of the last one.
    :param only: numbers or names.
    :param clean_trailers: leave out the trailers that only a fork needs.
    """

    upto: str | None = None
    only: Sequence[str] | None = None
    clean_trailers: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is all of them."""
        return self.upto is None and self.only is None

    def places(self, stack: Stack) -> list[int]:
        """Return their places in the series.

        :raises UsageError: there is no such patch.
        """
        if self.upto is not None and self.only is not None:
            raise UsageError("--upto and --only exclude each other")
        if self.only is not None:
            return sorted({stack.place_of(text) for text in self.only})
        end = len(stack.patches) if self.upto is None else stack.place_of(self.upto) + 1
        return list(range(end))


def build_branch(store: Repository, opened: OpenStack, choice: Choice, base: BaseTree) -> str:
    """Return the commit that has the chosen patches, and only those, on ``base``.

    :raises StackError: one of them does not merge without those left out.
    """
    tip = base.commit
    for index in choice.places(opened.stack):
        patch = opened.stack.patches[index]
        merged = merge_patch(
            store, before=opened.series.parent(index), after=opened.series.commits[index], onto=tip
        )
        if not merged.clean:
            places = ", ".join(f"{item.path}:{item.line}" for item in list_conflicts(store, merged))
            raise StackError(
                f"{patch.name} does not apply without the patches left out: {places}",
                hint="'vllm-patchkit matrix' shows what it needs; rebase first for another release",
            )
        message = commit_message(patch)
        if choice.clean_trailers:
            message = FORK_TRAILERS.sub("", message).rstrip("\n") + "\n"
        tip = store.write_commit(merged.tree, [tip], author_of(patch.message), message)
    return tip


def export_mailbox(folder: Path, choice: Choice, console: Console) -> bytes:
    """Return the chosen patches as a mailbox for ``git am --keep-non-patch``.

    With all of them comes what their authors changed that no wheel ships, as a last mail.
    """
    with open_store() as store:
        opened = load_stack(store, folder, console)
        tip = build_branch(store, opened, choice, opened.base)
        # A blank line ends a mail; without a signature nothing else would.
        patches = export_patches(store, opened.base.commit, tip).values()
        mails = b"".join(data.rstrip(b"\n") + b"\n\n" for data in patches)
        parts = find_left_out(opened.files)
        kept = parts and choice.whole
        return mails + (format_left_out(parts, opened.stack.patches[-1]) if kept else b"")


def export_bundle(folder: Path, choice: Choice, file: Path, branch: str, console: Console) -> None:
    """Write the chosen patches and their base as a bundle that ``git clone`` takes."""
    with open_store() as store:
        opened = load_stack(store, folder, console)
        tip = build_branch(store, opened, choice, opened.base)
        ref = f"refs/heads/{_require_branch(store, branch)}"
        store.run("update-ref", ref, tip)
        try:
            store.run("bundle", "create", "--quiet", file.absolute(), ref)
        finally:
            store.run("update-ref", "-d", ref)


def export_branch(
    folder: Path,
    choice: Choice,
    checkout: Path,
    revision: str,
    branch: str,
    console: Console,
) -> str:
    """Add the chosen patches as a new branch to a checkout of upstream; return its commit.

    Its work tree and index are left alone. The patches are merged into ``revision``'s own tree,
    so the branch differs from it by the patches only.

    :raises UsageError: the branch exists, or there is no such revision.
    """
    with open_store() as store:
        opened = load_stack(store, folder, console)
        name = _require_branch(store, branch)
        target = Repository(_git_dir(checkout))
        if target.resolve(f"refs/heads/{name}") is not None:
            raise UsageError(
                f"{checkout} has a branch {name} already", hint="choose another --branch"
            )
        spec = parse_base(revision, distribution=opened.base.spec.distribution, checkout=checkout)
        load_base(store, spec, console)
        fetched = store.resolve("refs/patchkit/fetched^{commit}")
        assert fetched is not None
        base = BaseTree(spec=spec, commit=fetched, root=opened.base.root, date=opened.base.date)
        tip = build_branch(store, opened, choice, base)
        # The checkout has the parent and its whole tree, and takes only what is new.
        store.run("push", "--quiet", checkout.absolute(), f"{tip}:refs/heads/{name}")
        return tip


def _require_branch(store: Repository, branch: str) -> str:
    if store.capture("check-ref-format", "--branch", branch).status:
        raise UsageError(f"{branch!r} cannot name a branch")
    return branch


def _git_dir(checkout: Path) -> Path:
    """Return the git folder of somebody's checkout.

    :raises UsageError: it is none.
    """
    argv: list[str | Path] = ["git", "-C", checkout, "rev-parse", "--absolute-git-dir"]
    try:
        return Path(run(argv, env=git_environment()).decode().rstrip("\n"))
    except CommandFailed:
        raise UsageError(f"{checkout} is not a git repository") from None
