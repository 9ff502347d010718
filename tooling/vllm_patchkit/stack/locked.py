"""A stack with its lock, and the one way to apply it: contents in, checked contents out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_patchkit.diff.model import Contents, Read
from vllm_patchkit.diff.paths import is_inside
from vllm_patchkit.digest import digest_or_none
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.apply import apply_patches, revert_patches
from vllm_patchkit.stack.folder import StackFiles, make_stack
from vllm_patchkit.stack.histories import file_histories
from vllm_patchkit.stack.lock import make_lock, stack_digest, version_label
from vllm_patchkit.stack.model import Lock, LockedFile, Stack
from vllm_patchkit.stack.modes import content_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedStack:
    """A stack as its files, parsed, and the lock that is known to be that of its patches."""

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

    @property
    def total(self) -> int:
        """How many patches there are."""
        return len(self.stack.patches)

    def count(self, upto: str | None) -> int:
        """Return how many patches ``--upto`` asks for.

        :raises UsageError: there is no patch of that number.
        """
        return self.total if upto is None else self.stack.place_of(upto) + 1

    def apply(self, read: Read, *, start: int = 0, stop: int | None = None) -> Contents:
        """Return what patches ``start`` to ``stop`` make of files that have the first ``start``.

        A patch that applies exactly can be taken off exactly, so where the result is what the
        lock says, what it was made of is too.

        :raises HunkMismatch: a patch does not apply exactly, or a blob id is another.
        :raises StackError: the result is not what the lock says.
        """
        stop = self.total if stop is None else stop
        return self._checked(apply_patches(self.stack.patches[start:stop], read), stop)

    def revert(self, read: Read, *, count: int) -> Contents:
        """Return the base's content of every file that the first ``count`` patches touch.

        :raises HunkMismatch: the files do not have exactly these patches.
        :raises StackError: the result is not what the lock says.
        """
        return self._checked(revert_patches(self.stack.patches[:count], read), 0)

    def net_files(self, count: int) -> tuple[LockedFile, ...]:
        """Return the net effect of the first ``count`` patches, sorted by path."""
        return tuple(
            LockedFile(path=one.path, before=one.digests[0], after=one.digests[count])
            for one in file_histories(self.lock)
            if one.digests[0] != one.digests[count]
        )

    def _checked(self, contents: Contents, count: int) -> Contents:
        expected = {
            one.path: content_digest(one.digests[count]) for one in file_histories(self.lock)
        }
        for path, content in contents.items():
            found = digest_or_none(content)
            if path not in expected or found != expected[path]:
                says = expected.get(path, "nothing of it")
                raise StackError(
                    f"{self.stack.name}: {path} would have sha256 {found}; the lock says {says}",
                    hint=f"run: vllm-patchkit lint {self.stack.name}",
                )
        return contents


def make_locked(files: StackFiles, lock: Lock) -> LockedStack:
    """Return a stack that is fit to be applied.

    :raises StackError: the lock was made of other patches or contradicts itself, or a patch
        leaves the base's root.
    """
    stack = make_stack(files)
    if lock.digest != stack_digest(stack):
        raise StackError(
            f"the lock of {stack.name} was made of other patches than are here",
            hint=f"run: vllm-patchkit lock {stack.name}",
        )
    return _require_fit(LockedStack(files=files, stack=stack, lock=lock))


def lock_stack(files: StackFiles, read_base: Read, previous: Lock | None) -> LockedStack:
    """Return a stack with the lock that its patches give on a base.

    :param previous: the lock so far; its recorded versions and known releases are carried over.
    :raises HunkMismatch: a patch does not apply exactly.
    :raises StackError: a patch leaves the base's root.
    """
    stack = make_stack(files)
    lock = make_lock(stack, read_base, previous=previous)
    return _require_fit(LockedStack(files=files, stack=stack, lock=lock))


def _require_fit(locked: LockedStack) -> LockedStack:
    stack = locked.stack
    for patch in stack.patches:
        for path in (path for file in patch.files for path in (file.old_path, file.new_path)):
            if path is not None and not is_inside(path, stack.base.root):
                raise StackError(f"{patch.name} changes {path}, outside {stack.base.root}/")
    if set(locked.net_files(locked.total)) != set(locked.lock.files):
        raise StackError(
            f"the lock of {stack.name} contradicts itself: its net effect is not its patches'",
            hint=f"run: vllm-patchkit lock {stack.name}",
        )
    return locked
