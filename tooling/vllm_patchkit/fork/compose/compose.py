"""Composing a stack of several: carry, stop at a conflict, resume, write the new stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vllm_patchkit.errors import UsageError
from vllm_patchkit.fork.compose.metadata import (
    carry_probes,
    make_title,
    merge_requires,
)
from vllm_patchkit.fork.compose.parents import (
    Piece,
    changed_parents,
    describe_parents,
    find_parents,
    load_parents,
    make_pieces,
    make_plan,
)
from vllm_patchkit.fork.edit import OpenStack, load_stack
from vllm_patchkit.fork.folder import read_folder
from vllm_patchkit.fork.leftout import FOLDER, find_left_out
from vllm_patchkit.fork.publish import base_reader
from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.fork.rebase.progress import Plan
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
from vllm_patchkit.fork.series import export_patches
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.fork.store.worktree import Session, folder_state, require_no_session
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.edit import format_metadata
from vllm_patchkit.stack.folder import LOCK, StackFiles, make_patch
from vllm_patchkit.stack.lock import parse_lock, version_label
from vllm_patchkit.stack.locked import lock_stack
from vllm_patchkit.stack.model import Lock, Metadata, Smoke
from vllm_patchkit.stack.read import read_stack
from vllm_patchkit.stack.series import format_series

KIND = "compose"
HEAD = "# Made by vllm-patchkit compose; name, label, version, summary and license may be edited."


@dataclass(frozen=True, kw_only=True, slots=True)
class Composition:
    """The parents, what the composed stack is so far, and the pieces that it will be made of."""

    folder: Path
    parents: tuple[OpenStack, ...]
    current: OpenStack | None
    title: Metadata
    pieces: tuple[Piece, ...]


def start_compose(
    folder: Path,
    parents: Sequence[Path],
    console: Console,
    *,
    label: str,
    work_tree: Path | None = None,
) -> Rebased:
    """Make a stack of several in ``folder``; stop with a work tree at the first conflict.

    :raises UsageError: the folder exists, or the parents are not on one base.
    """
    require_no_session(folder)
    if folder.exists():
        raise UsageError(
            f"{folder} exists already", hint=f"vllm-patchkit compose {folder.name} --update"
        )
    with open_store() as store:
        composition = _compose(store, folder, parents, console, label=label)
        return _start(store, composition, work_tree, console)


def update_compose(folder: Path, console: Console, *, work_tree: Path | None = None) -> Rebased:
    """Carry what changed in the parents over; what was resolved or edited here stays.

    :raises UsageError: the stack was not composed.
    """
    require_no_session(folder)
    stack = read_stack(folder)
    parents = find_parents(folder, stack)
    if not changed_parents(folder, stack):
        return Rebased(reports=())
    with open_store() as store:
        return _start(store, _compose(store, folder, parents, console), work_tree, console)


def _compose(
    store: Repository, folder: Path, places: Sequence[Path], console: Console, *, label: str = ""
) -> Composition:
    parents = load_parents(store, places, console)
    current = load_stack(store, folder, console) if folder.exists() else None
    if current is not None and current.base.commit != parents[0].base.commit:
        raise UsageError(
            f"{folder.name} is on {current.base.spec}, its parents on {parents[0].base.spec}",
            hint=f"vllm-patchkit rebase {folder.name} --onto {parents[0].base.spec.version}",
        )
    stacks = [opened.stack for opened in parents]
    title = current.stack if current else make_title(folder.name, label, stacks)
    pieces = make_pieces(parents, current)
    return Composition(folder=folder, parents=parents, current=current, title=title, pieces=pieces)


def _start(
    store: Repository, made: Composition, work_tree: Path | None, console: Console
) -> Rebased:
    session = Session.begin(
        made.folder, KIND, _state(made), work_tree,
        parents=[str(opened.folder.resolve()) for opened in made.parents],
        label=made.title.label,
    )  # fmt: skip
    plan = make_plan(made.folder, made.parents[0], made.pieces)
    return _advance(store, made, session, plan, console)


def _state(made: Composition) -> str:
    """Return a digest of everything that the composition starts from."""
    files = {f"{n}/{name}": data for n, one in enumerate(made.parents)
             for name, data in one.files.items()}  # fmt: skip
    own = made.current.files if made.current else {}
    return folder_state({**files, **{f"own/{name}": data for name, data in own.items()}})


def _advance(
    store: Repository, made: Composition, session: Session, plan: Plan, console: Console
) -> Rebased:
    patches = [piece.patch for piece in made.pieces]
    load = Load(store, made.parents[0].base, patches, console)
    return advance(load, session, plan, partial(_finish, made))


def continue_compose(folder: Path, console: Console, *, skip: bool = False) -> Rebased:
    """Take the resolution of the work tree (or drop the patch), and carry on.

    :raises StackError: there are unresolved files, or a parent changed meanwhile.
    """
    session = require_session(folder, KIND)
    with open_store() as store:
        finished = find_finished(store, session, read_folder(session.folder))
        if finished is not None:
            return finished
        places = [Path(place) for place in session.plan["parents"]]
        label = str(session.plan["label"])
        made = _compose(store, session.folder, places, console, label=label)
        require_unchanged(session, _state(made), f"{folder.name} or one of its parents")
        session, plan = go_on(store, session, made.parents[0].base, skip=skip)
        return _advance(store, made, session, plan, console)


def _finish(made: Composition, load: Load, session: Session, plan: Plan) -> Rebased:
    """Verify the new stack, and only then let it take its place."""
    patches = export_patches(load.store, load.base.commit, plan.tip)
    source = StackFiles(
        place=str(made.folder),
        metadata=_metadata(made, patches, plan.reports),
        series=format_series(patches),
        patches=patches,
    )
    locked = lock_stack(source, base_reader(load.store, load.base), _previous_lock(made))
    old = {**_beside(made), **(made.current.files if made.current else {})}
    title = f"compose {', '.join(opened.stack.name for opened in made.parents)}"
    return end_locked(load, session, plan, made.folder, old, locked, title=title)


def _metadata(
    made: Composition, patches: dict[str, bytes], reports: Sequence[PatchReport]
) -> bytes:
    origins = _match(made.pieces, reports, patches)
    stacks = [opened.stack for opened in made.parents]
    labels = [version_label(one.stack, parse_lock(one.files[LOCK])) if LOCK in one.files
              else f"{one.stack.label}.{one.stack.version}" for one in made.parents]  # fmt: skip
    own = [made.current.stack] if made.current else []
    numbers: list[dict[str, str]] = [{} for _ in (*stacks, *own)]
    for place, piece in enumerate(origins, 1):
        if piece is not None:
            index = len(stacks) if piece.parent is None else piece.parent
            numbers[index][_source_number(made, piece)] = f"{place:04d}"
    parsed = {name[:4]: make_patch(name, data) for name, data in patches.items()}
    probes = [
        probe
        for stack, mapping in zip((*stacks, *own), numbers, strict=True)
        for probe in carry_probes(stack, mapping, parsed)
    ]
    smoke = next((stack.smoke for stack in (*own, *stacks) if stack.smoke != Smoke()), Smoke())
    return format_metadata(
        replace(
            made.title,
            base=next((stack.base for stack in stacks if stack.base.sha256), stacks[0].base),
            subsystems=tuple(name for stack in (*stacks, *own) for name in stack.subsystems),
            requires=tuple(merge_requires(text for stack in stacks for text in stack.requires)),
            parents=describe_parents(made.folder, made.parents, labels, origins),
            probes=tuple(sorted(probes, key=lambda probe: probe.patch)),
            smoke=smoke,
        ),
        HEAD,
    )


def _beside(made: Composition) -> dict[str, bytes]:
    """Return the smoke scenarios of the first parent that has any, and every left-out part."""
    package = next((one.stack.smoke for one in made.parents if one.stack.smoke.package), Smoke())
    files = next((one.files for one in made.parents if one.stack.smoke == package), {})
    inside = f"{package.package}/"
    kept = {name: data for name, data in files.items() if name.startswith(inside)}
    for opened in made.parents:
        parts = find_left_out(opened.files).items()
        kept |= {f"{FOLDER}{opened.stack.name}-{name[len(FOLDER) :]}": data for name, data in parts}
    return kept


def _source_number(made: Composition, piece: Piece) -> str:
    """Return the number that a piece has in the stack that it came from."""
    if piece.parent is None:
        return f"{piece.patch.number:04d}"
    index = [one for one in made.pieces if one.parent == piece.parent].index(piece)
    return f"{made.parents[piece.parent].stack.patches[index].number:04d}"


def _match(
    pieces: Sequence[Piece], reports: Sequence[PatchReport], patches: dict[str, bytes]
) -> list[Piece | None]:
    """Return which piece each patch is: in order, by subject; a resolution may have split one.

    A piece of which nothing came in is none, whoever else has its subject.
    """
    carried = zip(pieces, reports, strict=True)
    left = [piece for piece, report in carried if report.status not in ("upstream", "skipped")]
    found: list[Piece | None] = []
    for name, data in patches.items():
        subject = make_patch(name, data).message.subject
        place = next(
            (n for n, one in enumerate(left) if one.patch.message.subject == subject), None
        )
        found.append(None if place is None else left[place])
        left = left if place is None else left[place + 1 :]
    return found


def _previous_lock(made: Composition) -> Lock | None:
    """Return a lock that lends what all the parents know of other releases, and what was released.

    A file is touched by some parent; what another parent's lock does not list, it does not touch.
    """
    locks = [parse_lock(one.files[LOCK]) for one in made.parents if LOCK in one.files]
    if len(locks) < len(made.parents):
        return None
    shared = set(locks[0].known).intersection(*(lock.known for lock in locks[1:]))
    known = {
        release: {path: hash_ for lock in locks for path, hash_ in lock.known[release].items()}
        for release in sorted(shared)
    }
    own = made.current.files.get(LOCK) if made.current else None
    released = parse_lock(own).released if own else {}
    return replace(locks[0], known=known, released=released)
