"""Putting new patches into a stack folder: checked, locked, remembered, exchanged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from vllm_patchkit.diff.model import Read
from vllm_patchkit.errors import PatchkitError, StackError
from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.folder import read_folder, replace_folder
from vllm_patchkit.fork.series import TreeState
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.fork.store.history import record_operation
from vllm_patchkit.stack.apply import step_patches
from vllm_patchkit.stack.edit import edit_metadata
from vllm_patchkit.stack.effect_rules import compile_fault
from vllm_patchkit.stack.folder import LOCK, METADATA, SERIES, StackFiles, make_patch
from vllm_patchkit.stack.lock import format_lock, parse_lock
from vllm_patchkit.stack.locked import LockedStack, lock_stack
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.model import Lock, Patch, Probe, Stack
from vllm_patchkit.stack.propose import renew_probe
from vllm_patchkit.stack.series import SUFFIX, format_series


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What an operation made of a stack folder, patch files by name.

    :param faults: what does not byte-compile, one line each.
    :param notes: what in the messages is written otherwise than the commits have it.
    """

    folder: Path
    patches: int
    added: tuple[str, ...]
    changed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def unchanged(self) -> int:
        """How many patch files have the bytes that they had."""
        return self.patches - len(self.added) - len(self.changed)

    def to_json(self) -> dict[str, object]:
        """Return the value as JSON writes it."""
        values = asdict(self)
        folder, patches = values.pop("folder"), values.pop("patches")
        return {"stack": str(folder), "patches": patches, "unchanged": self.unchanged, **values}


def base_reader(store: Repository, base: BaseTree) -> Read:
    """Return a function that gives a file's bytes in a base release, or None."""
    return TreeState(store, store.list_tree(base.commit)).read


def compose_stack(
    folder: Path,
    old: Mapping[str, bytes],
    patches: Mapping[str, bytes],
    base: BaseTree,
    read_base: Read,
) -> LockedStack:
    """Return the stack with ``patches`` in place of its old ones, locked on ``base``.

    :param old: the folder as it is.
    :raises HunkMismatch: the patches do not apply exactly, which an export never causes.
    """
    numbers = _match_numbers(old, patches)
    root = parse_metadata(old[METADATA]).base.root
    metadata = edit_metadata(
        old[METADATA],
        base=_base_values(old[METADATA], base),
        patch_count=len(patches),
        numbers=numbers,
        renew=partial(_renew, changed=_changed(old, patches, numbers), root=root),
    )
    series = format_series(patches)
    files = StackFiles(place=str(folder), metadata=metadata, series=series, patches=dict(patches))
    previous = parse_lock(old[LOCK], str(folder / LOCK)) if LOCK in old else None
    return lock_stack(files, read_base, _for_base(previous, base.spec.version))


def replace_stack(old: Mapping[str, bytes], locked: LockedStack) -> dict[str, bytes]:
    """Return the files of a folder with those of a stack; what is none of a patch stays."""
    kept = {name: data for name, data in old.items() if "/" in name or not name.endswith(SUFFIX)}
    new = locked.files
    own = {METADATA: new.metadata, SERIES: new.series, LOCK: format_lock(locked.lock)}
    return {**kept, **own, **new.patches}


def _base_values(metadata: bytes, base: BaseTree) -> dict[str, str | None]:
    """Return what changes in ``[base]``: nothing, unless the base is another release."""
    if parse_metadata(metadata).base.version == base.spec.version:
        return {}
    wheel = {"wheel": base.wheel or None, "sha256": base.sha256 or None}
    return {"version": base.spec.version, **wheel}


def _for_base(previous: Lock | None, release: str) -> Lock | None:
    """Return the lock so far without the release that has now become the base."""
    if previous is None:
        return None
    known = {name: files for name, files in previous.known.items() if name != release}
    return replace(previous, known=known)


def _match_numbers(old: Mapping[str, bytes], patches: Mapping[str, bytes]) -> dict[str, str | None]:
    """Return old patch number -> new number, matched by the subject part of the name.

    Of several with one subject, those that kept their bytes are themselves, the others in order.
    """
    names = sorted(name for name in old if "/" not in name and name.endswith(SUFFIX))
    left = list(patches)
    found: dict[str, str | None] = dict.fromkeys((name[:4] for name in names), None)
    for same in (True, False):
        for name in [one for one in names if found[one[:4]] is None]:
            fits = (one for one in left if one[4:] == name[4:])
            new = next((one for one in fits if not same or patches[one] == old[name]), None)
            if new is not None:
                left.remove(new)
                found[name[:4]] = new[:4]
    return found


def _changed(
    old: Mapping[str, bytes], patches: Mapping[str, bytes], numbers: Mapping[str, str | None]
) -> dict[str, tuple[Patch, Patch]]:
    """Return old number -> the patch as it was and as it is now, of those that changed."""
    names = {name[:4]: name for name in patches}
    found = {}
    for name, data in old.items():
        new = names.get(numbers.get(name[:4]) or "")
        if new is None or patches[new] == data or "/" in name:
            continue
        # One that was edited by hand may be no diff at all.
        with suppress(PatchkitError):
            found[name[:4]] = make_patch(name, data), make_patch(new, patches[new])
    return found


def _renew(probe: Probe, *, changed: Mapping[str, tuple[Patch, Patch]], root: str) -> Probe:
    if probe.patch not in changed:
        return probe
    before, after = changed[probe.patch]
    return renew_probe(probe, before, after, root)


def publish(
    store: Repository,
    folder: Path,
    files: Mapping[str, bytes],
    *,
    title: str,
    faults: tuple[str, ...] = (),
) -> Published:
    """Replace the stack folder by ``files``, remember the operation, and say what changed."""
    before = read_folder(folder)
    result = _compare(folder, before, files, faults)
    if dict(files) != before:
        record_operation(
            store, folder, before=before, after=files, title=title, now_s=int(time.time())
        )
        replace_folder(folder, files)
    return result


def _compare(
    folder: Path, before: Mapping[str, bytes], after: Mapping[str, bytes], faults: tuple[str, ...]
) -> Published:
    old = {name: data for name, data in before.items() if name.endswith(SUFFIX)}
    new = {name: data for name, data in after.items() if name.endswith(SUFFIX)}
    sources = _match_sources(old, new)
    return Published(
        folder=folder,
        patches=len(new),
        added=tuple(name for name in new if name not in sources),
        changed=tuple(name for name, source in sources.items() if old[source] != new[name]),
        renamed=tuple((source, name) for name, source in sources.items() if source != name),
        dropped=tuple(name for name in old if name not in set(sources.values())),
        faults=faults,
    )


def _match_sources(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> dict[str, str]:
    """Return new name -> old name of the same patch: same name, else same bytes or subject."""
    gone = [name for name in old if name not in new]
    by_data = {old[name]: name for name in gone}
    by_subject = {name[4:]: name for name in gone}
    sources: dict[str, str] = {}
    for name, data in new.items():
        source = name if name in old else by_data.get(data) or by_subject.get(name[4:])
        if source is not None and source not in sources.values():
            sources[name] = source
    return sources


def compile_faults(stack: Stack, read_base: Read, *, skip: frozenset[bytes]) -> tuple[str, ...]:
    """Return one line for each Python file that some patch leaves uncompilable.

    :param skip: patch files (as bytes) that need no check, because they were checked before.
    """
    faults = []
    for step in step_patches(_leading_to(stack.patches, skip), read_base):
        if step.patch.data in skip:
            continue
        for path, data in sorted(step.after.items()):
            if data is not None and path.endswith(".py"):
                fault = compile_fault(data, path)
                faults += [f"{step.patch.name}: {path}: {fault}"] if fault else []
    return tuple(faults)


def _leading_to(patches: Sequence[Patch], skip: frozenset[bytes]) -> list[Patch]:
    """Return the patches that are none of ``skip``, and those that lead to one of their files."""
    paths: set[str] = set()
    chosen = []
    for patch in reversed(patches):
        if patch.data not in skip or paths & patch.paths:
            paths |= patch.paths
            chosen.append(patch)
    return chosen[::-1]


def require_stack_folder(folder: Path) -> dict[str, bytes]:
    """Return the folder's files.

    :raises StackError: it is not the folder of a stack.
    """
    files = read_folder(folder)
    if METADATA not in files:
        raise StackError(f"{folder} has no {METADATA}: it is not a stack")
    return files
