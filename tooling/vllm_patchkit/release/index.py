"""A static package index: wheels in a folder that any web server, or the folder itself, serves.

Pages: PEP 503 (HTML) and PEP 691 (JSON), metadata files beside the wheels: PEP 658 and 714. A
published file never changes and is never taken away, so that every older build can be had.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import UsageError, WheelError
from vllm_patchkit.host.files import file_sha256, replace_file
from vllm_patchkit.release.index_pages import IndexedFile, format_html, format_json, format_root
from vllm_patchkit.release.make import statements
from vllm_patchkit.release.signing import BUNDLE_SUFFIX, bundle_of
from vllm_patchkit.wheel.contents import read_contents
from vllm_patchkit.wheel.metadata import find_header, normalize_name

HTML, JSON, METADATA_SUFFIX = "index.html", "index.json", ".metadata"
PROVENANCE_SUFFIX = ".provenance.json"
MODE = 0o644
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What became of an index: its root, the files that are new, and how many it has now."""

    root: Path
    added: tuple[str, ...]
    files: int


def add_to_index(root: Path, wheels: Sequence[Path]) -> Indexed:
    """Add wheels to the index in ``root``, made if it is not there.

    Files go in before the pages that list them, each by a rename, so that a reader or whoever comes
    after an interruption finds every file that a page lists; adding again finishes what was begun.

    :raises UsageError: the index has a file of that name with other bytes.
    :raises WheelError: one of them is no sound wheel; nothing is added.
    """
    prepared = [_prepare(wheel) for wheel in wheels]
    with _hold(root):
        for folder, beside in prepared:
            for name, source in beside.items():
                _require_same(root / folder / name, source)
        added = tuple(
            name
            for folder, beside in prepared
            for name, source in beside.items()
            if _put(root / folder / name, source)
        )
        projects = sorted(path.name for path in root.glob("[!.]*") if path.is_dir())
        files = [_write_pages(root / name) for name in projects]
        for name, data in zip((HTML, JSON), format_root(projects), strict=True):
            replace_file(root / name, data)
    return Indexed(
        root=root,
        added=tuple(name for name in added if name.endswith(".whl")),
        files=sum(files),
    )


def _prepare(wheel: Path) -> tuple[str, dict[str, Path | bytes]]:
    """Return the project of a wheel, and the files that it brings, as paths or bytes."""
    with closing(Archive(wheel)) as archive:
        contents = read_contents(archive)
        project = normalize_name(contents.distribution)
        metadata = contents.read_info("METADATA")
    files: dict[str, Path | bytes] = {wheel.name + METADATA_SUFFIX: metadata}
    found = [data for name, data in statements(wheel) if name.endswith(PROVENANCE_SUFFIX)]
    if len(found) == 1:
        files[wheel.name + PROVENANCE_SUFFIX] = found[0]
    if bundle_of(wheel).is_file():
        files[bundle_of(wheel).name] = bundle_of(wheel)
    # The wheel comes last: where it is, what belongs to it is there.
    return project, {**files, wheel.name: wheel}


def _require_same(place: Path, source: Path | bytes) -> None:
    """Refuse to replace a published file; a signature may be made anew."""
    if not place.exists() or place.name.endswith(BUNDLE_SUFFIX):
        return
    same = place.read_bytes() == source if isinstance(source, bytes) else (
        file_sha256(place) == file_sha256(source)
    )  # fmt: skip
    if not same:
        raise UsageError(
            f"{place} is published with other bytes",
            hint="a published file never changes: raise the stack's version, and build again",
        )


def _put(place: Path, source: Path | bytes) -> bool:
    """Put a file into its place unless it is there, and return whether it was missing."""
    if place.exists():
        return False
    place.parent.mkdir(exist_ok=True)
    if isinstance(source, bytes):
        replace_file(place, source)
    else:
        _copy(source, place)
    return True


def _copy(source: Path, place: Path) -> None:
    from shutil import copyfile

    part = place.with_name(f".{place.name}.part")
    try:
        copyfile(source, part)
        part.chmod(MODE)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _write_pages(folder: Path) -> int:
    """Write the pages of one project from the files that are in its folder."""
    known = _read_known(folder / JSON)
    files = [_describe(path, known) for path in sorted(folder.glob("[!.]*.whl"))]
    replace_file(folder / HTML, format_html(folder.name, files))
    replace_file(folder / JSON, format_json(folder.name, files))
    return len(files)


def _read_known(page: Path) -> dict[str, tuple[int, str]]:
    """Return what the page so far says of each file: size, and the sha256 that saves hashing it."""
    if not page.is_file():
        return {}
    # What the page holds is taken for no more than it is: it may have been edited, or be another's.
    with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return dict(_facts(entry) for entry in json.loads(page.read_bytes())["files"])
    return {}


def _facts(entry: Mapping[str, Any]) -> tuple[str, tuple[int, str]]:
    """Return the name, size and sha256 of an entry.

    :raises ValueError: they are none.
    """
    name, size, sha256 = entry["filename"], entry["size"], entry["hashes"]["sha256"]
    if not (isinstance(name, str) and type(size) is int and SHA256.fullmatch(sha256)):
        raise ValueError
    return name, (size, sha256)


def _describe(path: Path, known: Mapping[str, tuple[int, str]]) -> IndexedFile:
    metadata = path.with_name(path.name + METADATA_SUFFIX)
    if not metadata.is_file():
        raise WheelError(f"{path} has no {metadata.name} beside it", hint="add the wheel again")
    data = metadata.read_bytes()
    size = path.stat().st_size
    said_size, sha256 = known.get(path.name, (-1, ""))
    beside = (path.name + PROVENANCE_SUFFIX, bundle_of(path).name)
    return IndexedFile(
        name=path.name,
        version=find_header(data, "Version") or "",
        sha256=sha256 if said_size == size else file_sha256(path),
        size_bytes=size,
        metadata_sha256=file_sha256(metadata),
        requires_python=find_header(data, "Requires-Python"),
        statements=tuple(name for name in beside if (path.parent / name).is_file()),
    )


@contextmanager
def _hold(root: Path) -> Iterator[None]:
    """Let one process at a time change an index."""
    import fcntl
    import os

    root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
