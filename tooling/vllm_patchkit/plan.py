"""What an apply or a revert will change, as values. Pure.

A change is ``path -> (content before, content after)``; None stands for no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vllm_patchkit.diff.paths import is_inside
from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.applied import applied_files, make_applied
from vllm_patchkit.stack.apply import apply_patches, revert_patches
from vllm_patchkit.stack.folder import StackFiles
from vllm_patchkit.stack.lock import stack_digest
from vllm_patchkit.stack.model import Lock, LockedFile, Stack
from vllm_patchkit.transaction.originals import ORIGINALS, RECORD_BEFORE, pack_originals
from vllm_patchkit.transaction.record import update_record
from vllm_patchkit.verification import file_histories

Read = Callable[[str], "bytes | None"]
Contents = dict[str, "bytes | None"]
Changes = dict[str, "tuple[bytes | None, bytes | None]"]


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


def pair(contents: Mapping[str, bytes | None], read: Read) -> Changes:
    """Return contents beside what is there now."""
    return {path: (read(path), content) for path, content in sorted(contents.items())}


def kept_files(
    source: StackFiles,
    stack: Stack,
    lock: Lock,
    *,
    count: int,
    base: Mapping[str, bytes | None],
    record_before: bytes | None,
) -> dict[str, bytes]:
    """Return the files that the target keeps about the first ``count`` patches, by name.

    :param base: the base's content of every file that they touch.
    :param record_before: the dist-info's RECORD as it was; None where that is not known.
    """
    applied = make_applied(stack, lock, stack.patches[:count], net_files(lock, count))
    originals = {path: content for path, content in base.items() if content is not None}
    files = applied_files(source, stack, lock, applied)
    files[ORIGINALS] = pack_originals(originals)
    if record_before is not None:
        files[RECORD_BEFORE] = record_before
    return files


def net_files(lock: Lock, count: int) -> tuple[LockedFile, ...]:
    """Return the net effect of the first ``count`` patches, sorted by path."""
    return tuple(
        LockedFile(path=one.path, before=one.digests[0], after=one.digests[count])
        for one in file_histories(lock)
        if one.digests[0] != one.digests[count]
    )


def restored_record(
    record: bytes,
    record_before: bytes | None,
    applied: Mapping[str, bytes | None],
    restored: Mapping[str, bytes | None],
) -> bytes:
    """Return RECORD as it was before an apply.

    Where nobody else changed it since, that is the very file; where somebody did, only the
    rows that the apply is responsible for are taken back.

    :param applied: every file that the apply wrote, with its content.
    :param restored: the same files, with the content that they get back.
    """
    if record_before is not None:
        rows = sorted(update_record(record_before, applied).splitlines())
        if rows == sorted(record.splitlines()):
            return record_before
    return update_record(record, restored)


def _require_digests(
    stack: Stack, lock: Lock, contents: Mapping[str, bytes | None], count: int
) -> None:
    expected = {history.path: history.digests[count] for history in file_histories(lock)}
    for path, content in contents.items():
        found = None if content is None else sha256_hex(content)
        if found != expected.get(path):
            raise StackError(
                f"{stack.name}: {path} would have sha256 {found}; the lock says "
                f"{expected.get(path)}",
                hint=f"run: vllm-patchkit lint {stack.name}",
            )
