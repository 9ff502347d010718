"""The parents of a composed stack, and which version of each of their patches it is made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.errors import PatchkitError, UsageError
from vllm_patchkit.fork.edit import OpenStack, load_stack
from vllm_patchkit.fork.rebase.progress import Plan
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.folder import METADATA
from vllm_patchkit.stack.lock import stack_digest
from vllm_patchkit.stack.model import Parent, Patch, Stack
from vllm_patchkit.stack.read import find_stack, read_stack

DIGITS = 16
NEAR = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One patch of a composition: what it changes, and whose it is.

    :param before: the commit that it was made on; ``after`` the one with it.
    :param parent: index of the stack that it came from; None for the composed stack's own.
    :param source: the start of the sha256 of the parent's patch file.
    """

    patch: Patch
    before: str
    after: str
    parent: int | None
    source: str = ""


def source_digest(patch: Patch) -> str:
    """Return how a composed stack remembers a parent's patch."""
    return sha256_hex(patch.data)[:DIGITS]


def load_parents(
    store: Repository, folders: Sequence[Path], console: Console
) -> tuple[OpenStack, ...]:
    """Return the parents, all on one base.

    :raises UsageError: there are fewer than two, one is named twice, or their bases differ.
    """
    opened = tuple(load_stack(store, folder, console) for folder in folders)
    names = [one.stack.name for one in opened]
    if len(opened) < 2 or len(set(names)) < len(names):
        raise UsageError(
            f"a stack is composed of several: {', '.join(names)}", hint="name two or more stacks"
        )
    first = opened[0]
    for other in opened[1:]:
        if other.base.commit != first.base.commit or other.stack.base.root != first.stack.base.root:
            raise UsageError(
                f"{first.stack.name} is on {first.base.spec}, {other.stack.name} on "
                f"{other.base.spec}",
                hint="rebase one of them first, with --into beside it",
            )
    return opened


def find_parents(folder: Path, stack: Stack) -> tuple[Path, ...]:
    """Return where the parents of a composed stack lie: where they lay, else by their name.

    :raises UsageError: it has none, or one is nowhere.
    """
    if not stack.parents:
        raise UsageError(
            f"{stack.name} was not composed", hint="vllm-patchkit compose A B --name NAME"
        )
    places = []
    for parent in stack.parents:
        place = Path(os.path.normpath(folder / parent.path))
        beside = parent.path and (place / METADATA).is_file()
        places.append(place if beside else find_stack(parent.name))
    return tuple(places)


def changed_parents(folder: Path, stack: Stack) -> list[str]:
    """Return a line for each parent that is not what the stack was composed of.

    :raises UsageError: the stack has no parents.
    """
    lines = []
    for parent, place in zip(stack.parents, find_parents(folder, stack), strict=True):
        try:
            found = read_stack(place)
        except PatchkitError as error:
            lines.append(f"{parent.name} cannot be read: {error.message}")
            continue
        if stack_digest(found) != parent.digest:
            lines.append(f"{parent.name} changed since {parent.label} was composed")
    return lines


def make_pieces(
    parents: Sequence[OpenStack], current: OpenStack | None = None
) -> tuple[Piece, ...]:
    """Return the patches of a composition in order.

    A patch that its parent did not change since ``current`` was composed is taken as ``current``
    has it, with what was resolved or edited there. Patches that ``current`` added come last.
    """
    known = {} if current is None else _known(current)
    pieces = []
    for index, opened in enumerate(parents):
        for place, patch in enumerate(opened.stack.patches):
            source = source_digest(patch)
            held = known.pop((index, source), None)
            found = (opened, place) if held is None or current is None else (current, held)
            pieces.append(_piece(*found, index, source))
    if current is not None:
        own = [n for n, one in enumerate(current.stack.patches) if not current.stack.parent_of(one)]
        pieces += [_piece(current, place) for place in own]
    return tuple(pieces)


def _known(current: OpenStack) -> dict[tuple[int, str], int]:
    """Return (place of a parent, digest of its patch) -> place in the composed stack.

    Not its name: that is the parent's to change.
    """
    places = {f"{one.number:04d}": place for place, one in enumerate(current.stack.patches)}
    return {
        (index, source): places[number]
        for index, parent in enumerate(current.stack.parents)
        for number, source in parent.patches.items()
        if number in places
    }


def _piece(opened: OpenStack, place: int, parent: int | None = None, source: str = "") -> Piece:
    return Piece(
        patch=opened.stack.patches[place],
        before=opened.series.parent(place),
        after=opened.series.commits[place],
        parent=parent,
        source=source,
    )


def make_plan(target: Path, first: OpenStack, pieces: Sequence[Piece]) -> Plan:
    """Return the plan that carries the pieces, each over those before it."""
    base = first.base
    return Plan(
        onto=base.spec,
        target=target,
        commits=(base.commit, *(piece.after for piece in pieces)),
        befores=tuple(piece.before for piece in pieces),
        tip=base.commit,
    )


def _relative(parent: Path, folder: Path) -> str:
    """Return where a parent lies as seen from the composed stack; nothing if that is far away.

    A stack that comes with the toolkit is found by its name, wherever that is installed.
    """
    path = os.path.relpath(parent.resolve(), folder.resolve())
    return path if path.count("..") <= NEAR else ""


def describe_parents(
    folder: Path,
    parents: Sequence[OpenStack],
    labels: Sequence[str],
    origins: Sequence[Piece | None],
) -> tuple[Parent, ...]:
    """Return what a composed stack says of its parents.

    :param origins: for each of its patches, the piece that it is; None for one that is its own.
    """
    return tuple(
        Parent(
            name=opened.stack.name,
            path=_relative(opened.folder, folder),
            label=labels[index],
            digest=stack_digest(opened.stack),
            patches={
                f"{number:04d}": piece.source
                for number, piece in enumerate(origins, 1)
                if piece is not None and piece.parent == index
            },
        )
        for index, opened in enumerate(parents)
    )
