"""Which patches are in some files, decided by content alone. Pure.

It needs nothing but a ``read``, so it serves a wheel, an environment, a tree and the layers of a
container image alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vllm_patchkit.diff.model import Read
from vllm_patchkit.digest import digest_or_none
from vllm_patchkit.stack.applied import Applied
from vllm_patchkit.stack.histories import file_histories
from vllm_patchkit.stack.lock import version_label
from vllm_patchkit.stack.model import Lock, Patch, Stack
from vllm_patchkit.targets.answers import TargetInfo

PatchState = Literal["in", "out", "partly", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchVerdict:
    """Whether one patch is in a target, by the content of the files that it touches.

    :param parent: the stack that it came from, in a composed one.
    """

    name: str
    state: PatchState
    note: str = ""
    parent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StackIdentity:
    """How much of a stack is in a target.

    :param prefix: how many patches are in, where the files agree on it; else None.
    """

    stack: str
    label: str
    prefix: int | None
    patches: tuple[PatchVerdict, ...]

    @property
    def is_inside(self) -> bool:
        """Whether anything of it is in the target, as far as can be known."""
        return any(patch.state in ("in", "partly") for patch in self.patches)


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentifyReport:
    """Which patches are in a target: by content, and as recorded inside it."""

    target: TargetInfo | None
    stacks: tuple[StackIdentity, ...]
    recorded: tuple[Applied, ...]


def identify_stack(stack: Stack, lock: Lock, read: Read) -> StackIdentity:
    """Return which patches of a stack are in the files that ``read`` gives.

    A file with a content of the lock tells how many patches it has. In a file that nobody knows
    (edited, or of another release) a patch counts as in if all that it adds is there, hunk by
    hunk, and as out if all that it takes away is.
    """
    contents = {history.path: read(history.path) for history in file_histories(lock)}
    prefixes = {
        history.path: history.without_mode().prefixes(digest_or_none(contents[history.path]))
        for history in file_histories(lock)
    }
    common = frozenset(range(len(lock.patches) + 1)).intersection(*prefixes.values())
    verdicts = []
    for number, patch in enumerate(stack.patches, 1):
        states = {
            path: _in_file(patch, number, path, prefixes[path], contents[path])
            for path in sorted({file.path for file in lock.patches[number - 1].files})
        }
        verdicts.append(replace(_verdict(patch, states), parent=stack.parent_of(patch)))
    return StackIdentity(
        stack=stack.name,
        label=version_label(stack, lock),
        prefix=max(common) if common else None,
        patches=tuple(verdicts),
    )


def _in_file(
    patch: Patch, number: int, path: str, prefixes: frozenset[int], content: bytes | None
) -> PatchState:
    if prefixes:
        return "in" if max(prefixes) >= number else "out"
    if content is None:
        return "unknown"
    files = [file for file in patch.files if path in (file.old_path, file.new_path)]
    hunks = [hunk for file in files for hunk in file.hunks]
    if hunks and all(hunk.after and hunk.after in content for hunk in hunks):
        return "in"
    if hunks and all(hunk.before and hunk.before in content for hunk in hunks):
        return "out"
    return "unknown"


def _verdict(patch: Patch, states: dict[str, PatchState]) -> PatchVerdict:
    kinds = set(states.values())
    if len(kinds) == 1:
        return PatchVerdict(name=patch.name, state=kinds.pop())
    state: PatchState = "unknown" if "unknown" in kinds else "partly"
    note = ", ".join(f"{path}: {states[path]}" for path in states)
    return PatchVerdict(name=patch.name, state=state, note=note)
