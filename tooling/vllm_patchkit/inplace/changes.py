"""What an apply or a revert will change, as values. Pure.

A change is ``path -> (content before, content after)``; None stands for no file.

What was there before a target was patched lies beside ``applied.json``: the originals bring files
back that were edited since, ``RECORD`` and ``METADATA`` come back byte for byte. A wheel that was
built patched has none of them: its base is another wheel.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence

from vllm_patchkit.diff.model import FileDiff, Read
from vllm_patchkit.stack.applied import record_files
from vllm_patchkit.stack.locked import LockedStack
from vllm_patchkit.stack.modes import EXECUTABLE, mode_of, modes_after
from vllm_patchkit.targets.answers import FileChange
from vllm_patchkit.targets.tree import Folder
from vllm_patchkit.wheel.record import update_record
from vllm_patchkit.wheel.requirements import (
    add_requirements,
    missing_requirements,
    remove_requirements,
)

ORIGINALS = "originals.zip"
RECORD_BEFORE = "RECORD.before"
METADATA_BEFORE = "METADATA.before"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
Changes = dict[str, "tuple[bytes | None, bytes | None]"]


def pair(contents: Mapping[str, bytes | None], read: Read) -> Changes:
    """Return contents beside what is there now."""
    return {path: (read(path), content) for path, content in sorted(contents.items())}


def changed_modes(steps: Iterable[Iterable[FileDiff]], target: Folder) -> dict[str, bool]:
    """Return the files that have to become executable or cease to be, as ``git apply`` has it."""

    def read(path: str) -> str:
        return mode_of(executable=target.executable(path))

    after = modes_after(steps, read)
    wanted = {path: mode == EXECUTABLE for path, mode in after.items() if mode is not None}
    return {path: run for path, run in wanted.items() if run != target.executable(path)}


def settle(changes: Changes, modes: Mapping[str, bool]) -> Changes:
    """Return the changes that change something."""
    return {
        path: change for path, change in changes.items() if change[0] != change[1] or path in modes
    }


def kept_files(
    source: LockedStack,
    *,
    count: int,
    base: Mapping[str, bytes | None],
    record_before: bytes | None,
    metadata_before: bytes | None = None,
) -> dict[str, bytes]:
    """Return the files that the target keeps about the first ``count`` patches, by name.

    :param base: the base's content of every file that they touch.
    :param record_before: the dist-info's RECORD as it was; None where that is not known.
    :param metadata_before: its METADATA as it was; None where the stack does not change it.
    """
    requires = source.stack.requires if metadata_before is not None else ()
    originals = {path: content for path, content in base.items() if content is not None}
    files = record_files(source, count, requires)
    files[ORIGINALS] = pack_originals(originals)
    if record_before is not None:
        files[RECORD_BEFORE] = record_before
    if metadata_before is not None:
        files[METADATA_BEFORE] = metadata_before
    return files


def pack_originals(originals: Mapping[str, bytes]) -> bytes:
    """Return the files that were there before as a zip file; the same input, the same bytes."""
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(originals):
            archive.writestr(zipfile.ZipInfo(path, ZIP_TIME), originals[path])
    return stream.getvalue()


def unpack_originals(data: bytes) -> dict[str, bytes]:
    """Return the files that ``pack_originals`` packed.

    :raises ValueError: they are damaged.
    """
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error


def restored_metadata(
    metadata: bytes, before: bytes | None, requires: Sequence[str], shared: Collection[str]
) -> bytes:
    """Return METADATA as it was before an apply added ``requires``.

    Where somebody else changed it since, only the lines that the apply added are taken out.

    :param shared: requirements of other stacks that are applied, which stay.
    """
    added = requires if before is None else missing_requirements(before, requires)
    gone = [one for one in added if one not in shared]
    if before is not None and gone == list(added) and add_requirements(before, gone) == metadata:
        return before
    return remove_requirements(metadata, gone)


def restored_record(
    record: bytes,
    record_before: bytes | None,
    applied: Mapping[str, bytes | None],
    restored: Mapping[str, bytes | None],
    edited: Mapping[str, bytes | None],
) -> bytes:
    """Return RECORD as it was before an apply.

    Where nobody else changed it since, that is the very file; where somebody did, only the
    rows that the apply is responsible for are taken back.

    :param applied: every file that the apply wrote, with its content.
    :param restored: the same files, with the content that they get back.
    :param edited: those of them that are not as they were, because somebody else's lines stay.
    """
    if record_before is not None:
        rows = sorted(update_record(record_before, applied).splitlines())
        if rows == sorted(record.splitlines()):
            return update_record(record_before, edited) if edited else record_before
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
