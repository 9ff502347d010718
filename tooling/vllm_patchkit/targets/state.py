"""Which state a target is in, decided by the content of its files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vllm_patchkit.diff.model import Read
from vllm_patchkit.stack.histories import Digest, History, file_histories
from vllm_patchkit.stack.model import Lock
from vllm_patchkit.stack.modes import IsExecutable, content_digest, identify

State = Literal["pristine", "applied", "partial", "drifted", "other-version", "foreign-stack"]
FileState = Literal["pristine", "applied", "partial", "unaffected", "drifted", "missing", "extra"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileVerdict:
    """What one file is. ``expected`` and ``found`` are sha256, None where there is no file."""

    path: str
    state: FileState
    expected: str | None
    found: str | None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a target is.

    :param applied: how many patches of the series are in (a prefix); None where that has no
        answer because the files disagree.
    :param release: for ``other-version``, the release whose files these are.
    """

    state: State
    stack: str
    total: int
    applied: int | None
    files: tuple[FileVerdict, ...]
    release: str | None = None
    notes: tuple[str, ...] = ()


def check_target(
    lock: Lock,
    read: Read,
    *,
    version: str | None = None,
    foreign: str | None = None,
    recorded: int | None = None,
    executable: IsExecutable | None = None,
) -> Report:
    """Return the state of a target and one verdict a file; never raises on odd content.

    :param version: what the target's metadata claims; content decides, so a contradiction
        becomes a note where the content is known.
    :param foreign: a title of another stack that is recorded as applied.
    :param recorded: how many patches are recorded as applied; settles which prefix it is where
        the content allows several.
    :param executable: tells whether a file is; without it only contents are compared.
    """
    histories = file_histories(lock)
    if executable is None:
        histories = tuple(one.without_mode() for one in histories)
    found = {one.path: _found(one, read, executable) for one in histories}
    total = len(lock.patches)
    common = _common_prefixes(histories, found, total)
    notes = _version_notes(lock, version)
    if common:
        applied = recorded if recorded in common else max(common)
        state: State = "pristine" if applied == 0 else "applied" if applied == total else "partial"
        files = tuple(_settled(one, found[one.path], applied) for one in histories)
        return Report(
            state=state, stack=lock.stack, total=total, applied=applied, files=files, notes=notes
        )
    files = tuple(_unsettled(one, found[one.path]) for one in histories)
    contents = {path: content_digest(digest) for path, digest in found.items()}
    release = matching_release(lock.known, contents, version)
    state = _unsettled_state(lock, files, release, foreign, version)
    if state == "foreign-stack":
        notes += (f"{foreign} is applied here",)
    return Report(
        state=state,
        stack=lock.stack,
        total=total,
        applied=None,
        files=files,
        release=(release or version) if state == "other-version" else None,
        notes=notes if state != "other-version" else (),
    )


def matching_release(
    known: Mapping[str, Mapping[str, Digest]], found: Mapping[str, Digest], version: str | None
) -> str | None:
    """Return the release whose files these all are, or None.

    Where several have the same files, the one that the metadata claims, else all of them.
    """
    fitting = [
        release
        for release, hashes in sorted(known.items())
        if hashes and all(found.get(path) == digest for path, digest in hashes.items())
    ]
    claimed = [release for release in fitting if version is not None and version == release]
    return " or ".join(claimed or fitting) or None


def _common_prefixes(
    histories: tuple[History, ...], found: Mapping[str, Digest], total: int
) -> frozenset[int]:
    common = frozenset(range(total + 1))
    for history in histories:
        common &= history.prefixes(found[history.path])
    return common


def _settled(history: History, found: Digest, applied: int) -> FileVerdict:
    first, last = history.digests[0], history.digests[-1]
    if first == found == last:
        state: FileState = "unaffected"
    elif found == first:
        state = "pristine"
    else:
        state = "applied" if found == last else "partial"
    return FileVerdict(
        path=history.path, state=state, expected=history.digests[applied], found=found
    )


def _unsettled(history: History, found: Digest) -> FileVerdict:
    """Return the verdict on a file of a target whose files do not agree on a prefix."""
    prefixes = history.prefixes(found)
    first = history.digests[0]
    if prefixes:
        settled = _settled(history, found, min(prefixes))
        return FileVerdict(
            path=history.path,
            state=settled.state,
            expected=found,
            found=found,
            note=_prefix_note(prefixes, len(history.digests) - 1),
        )
    state: FileState = "missing" if found is None else "extra" if first is None else "drifted"
    return FileVerdict(path=history.path, state=state, expected=first, found=found)


def _prefix_note(prefixes: frozenset[int], total: int) -> str:
    low, high = min(prefixes), max(prefixes)
    if low == 0:
        return f"as before patch {high + 1} of {total}" if high < total else "in no patch's way"
    return f"as after patch {low} of {total}"


def _unsettled_state(
    lock: Lock,
    files: tuple[FileVerdict, ...],
    release: str | None,
    foreign: str | None,
    version: str | None,
) -> State:
    if release is not None and release != lock.base_version:
        return "other-version"
    if foreign is not None:
        return "foreign-stack"
    if not any(file.state in ("drifted", "missing", "extra") for file in files):
        return "partial"
    if version is not None and not same_release(version, lock.base_version):
        return "other-version"
    return "drifted"


def same_release(version: str, base_version: str) -> bool:
    """Return whether a version is the base's, local label and ``.postN`` rebuilds included."""
    public = version.partition("+")[0]
    return public == base_version or public.startswith(f"{base_version}.post")


def _version_notes(lock: Lock, version: str | None) -> tuple[str, ...]:
    if version is None or version.partition("+")[0] == lock.base_version:
        return ()
    return (f"the metadata says {version}; the content is that of {lock.base_version}",)


def _found(history: History, read: Read, executable: IsExecutable | None) -> Digest:
    with_mode = executable is not None and history.with_mode
    return identify(
        read(history.path), executable=with_mode and bool(executable and executable(history.path))
    )
