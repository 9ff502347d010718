"""A stack with its lock, and the one way to apply it: contents in, checked contents out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.diff.paths import is_inside
from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.errors import StackError, UsageError
from vllm_patchkit.stack.apply import apply_patches, revert_patches
from vllm_patchkit.stack.folder import StackFiles, make_stack
from vllm_patchkit.stack.histories import file_histories
from vllm_patchkit.stack.lock import stack_digest, version_label
from vllm_patchkit.stack.model import Lock, LockedFile, Stack
from vllm_patchkit.stack.modes import content_digest
from vllm_patchkit.stack.read import read_files, read_lock

Read = Callable[[str], "bytes | None"]

Contents = dict[str, "bytes | None"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A stack as it lies on disk, parsed, with its lock."""

    files: StackFiles
    stack: Stack
    lock: Lock

    @property
    def label(self) -> str:
        """The version label of the stack."""
        return version_label(self.stack, self.lock)

    @property
    def base(self) -> str:
        """The base release as a message names it."""
        return f"{self.stack.base.distribution} {self.stack.base.version}".strip()

    def count(self, upto: str | None) -> int:
        """Return how many patches ``--upto`` asks for.

        :raises UsageError: there is no patch of that number.
        """
        if upto is None:
            return len(self.stack.patches)
        number = upto.partition("-")[0]
        for index, patch in enumerate(self.stack.patches, 1):
            if number.isdigit() and patch.number == int(number):
                return index
        numbers = [f"{patch.number:04}" for patch in self.stack.patches]
        raise UsageError(
            f"{self.stack.name} has no patch {upto!r}",
            hint=f"its patches are {numbers[0]} to {numbers[-1]}" if numbers else None,
        )


def read_source(folder: Path) -> Source:
    """Return a stack that is fit to be applied: its lock is that of its patches.

    :raises StackError: the lock is missing, or was made of other patches.
    """
    files = read_files(folder)
    source = Source(files=files, stack=make_stack(files), lock=read_lock(folder))
    require_locked(source.stack, source.lock)
    return source


def require_locked(stack: Stack, lock: Lock) -> None:
    """Raise StackError unless the lock is the lock of exactly this stack, inside its root."""
    if lock.digest != stack_digest(stack):
        raise StackError(
            f"the lock of {stack.name} was made of other patches than are here",
            hint=f"run: vllm-patchkit lock {stack.name}",
        )
    for patch in lock.patches:
        for file in patch.files:
            if not is_inside(file.path, stack.base.root):
                raise StackError(f"{patch.name} changes {file.path}, outside {stack.base.root}/")


def patched_contents(stack: Stack, lock: Lock, read: Read, *, start: int, stop: int) -> Contents:
    """Return what patches ``start`` to ``stop`` make of a target that has the first ``start``.

    :raises HunkMismatch: a patch does not apply exactly, or a blob id is another.
    :raises StackError: the result is not what the lock says.
    """
    contents = apply_patches(stack.patches[start:stop], read)
    _require_digests(stack, lock, contents, stop)
    return contents


def base_contents(stack: Stack, lock: Lock, read: Read, *, count: int) -> Contents:
    """Return the base's content of every file that the first ``count`` patches touch.

    :raises HunkMismatch: the target does not have exactly these patches.
    """
    contents = revert_patches(stack.patches[:count], read)
    _require_digests(stack, lock, contents, 0)
    return contents


def net_files(lock: Lock, count: int) -> tuple[LockedFile, ...]:
    """Return the net effect of the first ``count`` patches, sorted by path."""
    return tuple(
        LockedFile(path=one.path, before=one.digests[0], after=one.digests[count])
        for one in file_histories(lock)
        if one.digests[0] != one.digests[count]
    )


def _require_digests(
    stack: Stack, lock: Lock, contents: Mapping[str, bytes | None], count: int
) -> None:
    expected = {
        history.path: content_digest(history.digests[count]) for history in file_histories(lock)
    }
    for path, content in contents.items():
        found = None if content is None else sha256_hex(content)
        if found != expected.get(path):
            raise StackError(
                f"{stack.name}: {path} would have sha256 {found}; the lock says "
                f"{expected.get(path)}",
                hint=f"run: vllm-patchkit lint {stack.name}",
            )
