"""What an apply or a revert will change, as values. Pure.

A change is ``path -> (content before, content after)``; None stands for no file.
"""

from __future__ import annotations

from collections.abc import Mapping

from vllm_patchkit.stack.applied import applied_files, make_applied
from vllm_patchkit.stack.folder import StackFiles
from vllm_patchkit.stack.locked import Read, net_files
from vllm_patchkit.stack.model import Lock, Stack
from vllm_patchkit.targets.answers import FileChange
from vllm_patchkit.transaction.originals import ORIGINALS, RECORD_BEFORE, pack_originals
from vllm_patchkit.wheel.record import update_record

Changes = dict[str, "tuple[bytes | None, bytes | None]"]


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


def describe_changes(changes: Changes) -> tuple[FileChange, ...]:
    """Return the changes for a report, by path."""
    return tuple(
        FileChange(
            path=path,
            kind="add" if before is None else "delete" if after is None else "modify",
            size_before=len(before or b""),
            size_after=len(after or b""),
        )
        for path, (before, after) in sorted(changes.items())
    )
