"""What each reader promises about any bytes at all: its own error, or a value that holds.

A harness takes bytes and returns nothing. An exception that escapes it is a finding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.errors import PatchkitError
from vllm_patchkit.stack.folder import make_patch
from vllm_patchkit.stack.lock import format_lock, parse_lock
from vllm_patchkit.stack.metadata import parse_metadata
from vllm_patchkit.stack.series import format_series, parse_series
from vllm_patchkit.wheel.record import parse_record

FILES: Mapping[str, bytes] = {
    "vllm/a.py": b"one\ntwo\nthree\n",
    "vllm/b.py": b"".join(b"line %d\n" % n for n in range(40)),
}


def fuzz_diff(data: bytes) -> None:
    """A diff is refused, or formatting it is stable, it stays inside, and its reverse undoes it."""
    try:
        files = parse_diff(data)
        text = format_diff(files)
        assert format_diff(parse_diff(text)) == text
        changed = apply_diff(files, FILES.get)
    except PatchkitError:
        return
    for path in changed:
        assert not path.startswith("/"), path
        assert ".." not in path.split("/"), path
    after = {**FILES, **changed}
    back = apply_diff(reverse_diff(files), after.get)
    assert all(FILES.get(path) == content for path, content in back.items())


def fuzz_patch(data: bytes) -> None:
    """A patch mail is refused, or its parts are there."""
    try:
        patch = make_patch("0001-subject.patch", data)
    except PatchkitError:
        return
    assert patch.data == data


def fuzz_series(data: bytes) -> None:
    """A series is refused, or it is a list of names that formats to itself."""
    try:
        names = parse_series(data)
    except PatchkitError:
        return
    assert parse_series(format_series(names)) == names
    assert all("/" not in name and name not in {".", ".."} for name in names)


def fuzz_metadata(data: bytes) -> None:
    """``stack.toml`` is refused, or its names are safe in paths and versions."""
    try:
        metadata = parse_metadata(data)
    except PatchkitError:
        return
    assert "/" not in metadata.name
    assert ".." not in metadata.base.root.split("/")


def fuzz_lock(data: bytes) -> None:
    """A lock is refused, or formatting it is stable."""
    try:
        lock = parse_lock(data)
    except PatchkitError:
        return
    text = format_lock(lock)
    assert format_lock(parse_lock(text)) == text


def fuzz_record(data: bytes) -> None:
    """RECORD gives rows and flaws, never an exception."""
    own = "vllm-0.11.0.dist-info/RECORD"
    parse_record(data, own)


def fuzz_archive(data: bytes) -> None:
    """An archive is refused, or every member can be read or is refused by itself."""
    with tempfile.NamedTemporaryFile(suffix=".whl") as stream:
        stream.write(data)
        stream.flush()
        try:
            with Archive(Path(stream.name)) as archive:
                for member in archive.members:
                    _read_member(archive, member.name)
        except PatchkitError:
            return


def _read_member(archive: Archive, name: str) -> None:
    assert not name.startswith("/"), name
    assert ".." not in name.split("/"), name
    try:
        archive.read(name)
    except PatchkitError:
        return


HARNESSES: Mapping[str, Callable[[bytes], None]] = {
    "diff": fuzz_diff,
    "patch": fuzz_patch,
    "series": fuzz_series,
    "metadata": fuzz_metadata,
    "lock": fuzz_lock,
    "record": fuzz_record,
    "archive": fuzz_archive,
}
