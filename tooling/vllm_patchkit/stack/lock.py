"""The lock of a stack: what every patch makes of every file, by digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from vllm_patchkit.diff.model import Read
from vllm_patchkit.diff.paths import require_plain
from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.apply import step_patches
from vllm_patchkit.stack.model import Lock, LockedFile, LockedPatch, Stack
from vllm_patchkit.stack.modes import EXECUTABLE, identify, locked_modes

FORMAT = 1
LABEL_DIGEST_DIGITS = 8


def stack_digest(stack: Stack) -> str:
    """Return the sha256 over ``stack.toml`` and every patch, in series order.

    Each file enters as name, NUL, size, NUL, content, so that no two stacks share an input.
    """
    digest = hashlib.sha256()
    files = [("stack.toml", stack.metadata), *((patch.name, patch.data) for patch in stack.patches)]
    for name, data in files:
        digest.update(b"%s\0%d\0" % (name.encode("utf-8"), len(data)))
        digest.update(data)
    return digest.hexdigest()


def version_label(stack: Stack, lock: Lock) -> str:
    """Return the local version label: ``myfork.N``, with ``.d<8 hex>`` unless N was released so.

    Installers keep an older build of the same version; a build of other content than the one
    recorded for its version therefore gets a label of its own.
    """
    label = f"{stack.label}.{stack.version}"
    digest = stack_digest(stack)
    if lock.released.get(stack.version) == digest:
        return label
    return f"{label}.d{digest[:LABEL_DIGEST_DIGITS]}"


def make_lock(stack: Stack, read_base: Read, *, previous: Lock | None = None) -> Lock:
    """Return the lock of ``stack`` on the base that ``read_base`` gives.

    :param previous: the lock so far; its recorded versions and known releases are carried over.
    :raises HunkMismatch: a patch does not apply exactly.
    """
    patches = []
    first: dict[str, str | None] = {}
    last: dict[str, str | None] = {}
    base_modes, *steps = locked_modes(stack.patches)
    modes = dict(base_modes)
    for step, changed in zip(step_patches(stack.patches, read_base), steps, strict=True):
        before = dict(modes)
        modes.update(changed)
        files = tuple(
            LockedFile(
                path=path,
                before=identify(step.before[path], executable=before.get(path) == EXECUTABLE),
                after=identify(after, executable=modes.get(path) == EXECUTABLE),
            )
            for path, after in sorted(step.after.items())
        )
        for file in files:
            first.setdefault(file.path, file.before)
            last[file.path] = file.after
        patches.append(
            LockedPatch(name=step.patch.name, sha256=sha256_hex(step.patch.data), files=files)
        )
    net = (LockedFile(path=path, before=first[path], after=last[path]) for path in sorted(last))
    return Lock(
        stack=stack.name,
        version=stack.version,
        base_version=stack.base.version,
        digest=stack_digest(stack),
        patches=tuple(patches),
        files=tuple(file for file in net if file.before != file.after),
        released=dict(previous.released) if previous else {},
        known={
            release: {path: digest for path, digest in files.items() if path in last}
            for release, files in (previous.known.items() if previous else ())
        },
    )


def add_known(lock: Lock, release: str, read: Read) -> Lock:
    """Return the lock with the hashes that its files have in another release of the base.

    Contents only: nothing is said about modes there.
    """
    hashes = {file.path: identify(read(file.path), executable=False) for file in lock.files}
    return replace(lock, known={**lock.known, release: hashes})


def record_release(lock: Lock) -> Lock:
    """Return the lock with its digest recorded for its version.

    :raises StackError: that version was recorded with other content, which stays as it is.
    """
    recorded = lock.released.get(lock.version)
    if recorded not in (None, lock.digest):
        raise StackError(
            f"version {lock.version} of {lock.stack} was released with digest {recorded}; the "
            f"stack now has {lock.digest}",
            hint=f"bump version to {max(lock.released) + 1} in stack.toml, then lock again",
        )
    return replace(lock, released={**lock.released, lock.version: lock.digest})


def format_lock(lock: Lock) -> bytes:
    """Return the text of ``lock.json``: deterministic, one value a line."""
    document = {
        "format": FORMAT,
        **asdict(lock),
        "released": {str(version): lock.released[version] for version in sorted(lock.released)},
        "known": {
            release: dict(sorted(lock.known[release].items())) for release in sorted(lock.known)
        },
    }
    return json.dumps(document, indent=1).encode("ascii") + b"\n"


def parse_lock(data: bytes, source: str = "lock.json") -> Lock:
    """Return the lock that ``data`` holds.

    :raises StackError: not JSON, of another format, or with a value of the wrong type.
    """
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise StackError(
                f"{source}: format {document['format']!r} is not known (expected {FORMAT})",
                hint="a newer vllm-patchkit may have written it",
            )
        return _parse_document(document)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StackError(
            f"{source} is not a lock: {type(error).__name__}: {error}",
            hint="restore it from version control, then: vllm-patchkit lock (it is never edited "
            "by hand; without it, recorded releases are lost)",
        ) from None


def _parse_document(document: dict[str, Any]) -> Lock:
    return Lock(
        stack=_text(document["stack"]),
        version=int(document["version"]),
        base_version=_text(document["base_version"]),
        digest=_text(document["digest"]),
        patches=tuple(
            LockedPatch(
                name=_text(entry["name"]),
                sha256=_text(entry["sha256"]),
                files=parse_files(entry["files"]),
            )
            for entry in document["patches"]
        ),
        files=parse_files(document["files"]),
        released={int(key): _text(value) for key, value in document["released"].items()},
        known={
            release: {path: _text_or_none(digest) for path, digest in files.items()}
            for release, files in document["known"].items()
        },
    )


def parse_files(entries: list[Mapping[str, Any]]) -> tuple[LockedFile, ...]:
    """Return the files of a lock, or of a record that was made of one.

    :raises ValueError: a path leaves the tree.
    :raises TypeError: a value is of another type.
    """
    return tuple(
        LockedFile(
            path=require_plain(_text(entry["path"])),
            before=_text_or_none(entry["before"]),
            after=_text_or_none(entry["after"]),
        )
        for entry in entries
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)
