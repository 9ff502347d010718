"""A static package index: wheels in a folder that any web server, or the folder itself, serves.

Pages: PEP 503 (HTML) and PEP 691 (JSON), metadata files beside the wheels: PEP 658 and 714. A
published file never changes and is never taken away, so that every older build can be had.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import (
    InvalidName,
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import HostError, UsageError, WheelError
from vllm_patchkit.host.files import file_sha256, hold, sweep, sync_folder
from vllm_patchkit.release.index_pages import IndexedFile, format_html, format_json, format_root
from vllm_patchkit.release.make import statements
from vllm_patchkit.release.signing import BUNDLE_SUFFIX, bundle_of
from vllm_patchkit.wheel.contents import read_contents
from vllm_patchkit.wheel.metadata import find_header

HTML, JSON, METADATA_SUFFIX = "index.html", "index.json", ".metadata"
PROVENANCE_SUFFIX = ".provenance.json"
STAGING = ".adding-"
MODE = 0o644
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What became of an index: its root, the files that are new, and how many it has now."""

    root: Path
    added: tuple[str, ...]
    files: int


# What belongs to a wheel by the name that it gets in the index: a file, or bytes.
Files = Mapping[str, Path | bytes]


def add_to_index(root: Path, wheels: Sequence[Path]) -> Indexed:
    """Add wheels to the index in ``root``, made if it is not there.

    Files go in before the pages that list them, each by a rename, so that a reader or whoever comes
    after an interruption finds every file that a page lists; adding again finishes what was begun.

    :raises UsageError: the index has a file of that name with other bytes, or two of the wheels do.
    :raises WheelError: one of them is no sound wheel; nothing is added.
    :raises HostError: the index cannot be written.
    """
    prepared = [(wheel.name, *_prepare(wheel)) for wheel in wheels]
    for wheel in wheels:
        same = next(one for one in wheels if one.name == wheel.name)
        _require_same(same, wheel, f"{same} and {wheel} have one name, and other bytes")
    try:
        with _hold(root) as staging:
            added = _add_files(root, staging, prepared)
            folders = sorted({path.parent for path in root.glob("[!.]*/[!.]*.whl")})
            files = [_write_pages(staging, folder) for folder in folders]
            pages = format_root([folder.name for folder in folders])
            for name, data in zip((HTML, JSON), pages, strict=True):
                _put(staging, root / name, data)
    except OSError as error:
        raise HostError(
            f"{root} cannot be written: {error.strerror}",
            hint="its pages list only files that are there; add the wheels again to finish",
        ) from error
    return Indexed(root=root, added=added, files=sum(files))


def _prepare(wheel: Path) -> tuple[str, Files]:
    """Return the project of a wheel, and the files that it brings.

    :raises WheelError: it is no sound wheel, or one that an installer would pass over.
    """
    with closing(Archive(wheel)) as archive:
        contents = read_contents(archive)
        metadata = contents.read_info("METADATA")
    try:
        project, *_ = parse_wheel_filename(wheel.name)
        canonicalize_name(contents.distribution, validate=True)
        SpecifierSet(find_header(metadata, "Requires-Python") or "")
    except (InvalidName, InvalidWheelFilename, InvalidSpecifier) as error:
        raise WheelError(
            f"{wheel.name} is no wheel that pip takes from an index: {error}",
            hint="names, versions and Requires-Python follow PEP 508 and 440: build it again",
        ) from None
    files: dict[str, Path | bytes] = {wheel.name + METADATA_SUFFIX: metadata}
    found = [data for name, data in statements(wheel) if name.endswith(PROVENANCE_SUFFIX)]
    if len(found) == 1:
        files[wheel.name + PROVENANCE_SUFFIX] = found[0]
    if bundle_of(wheel).is_file():
        files[bundle_of(wheel).name] = bundle_of(wheel)
    # The wheel comes last: where it is, what belongs to it is there.
    return project, {**files, wheel.name: wheel}


def _add_files(
    root: Path, staging: Path, prepared: Sequence[tuple[str, str, Files]]
) -> tuple[str, ...]:
    """Put the files of wheels into the index, and return the names of the wheels that are new."""
    published = {wheel: (root / project / wheel).exists() for wheel, project, _ in prepared}
    for wheel, project, files in prepared:
        for name, source in files.items() if published[wheel] else ():
            place = root / project / name
            # A signature may be made anew.
            if place.exists() and not name.endswith(BUNDLE_SUFFIX):
                _require_same(place, source, f"{place} is published with other bytes")
    for wheel, project, files in prepared:
        (root / project).mkdir(exist_ok=True)
        for name, source in files.items():
            # What lies beside no wheel is of an addition that was ended, perhaps of another build.
            if not (published[wheel] and (root / project / name).exists()):
                _put(staging, root / project / name, source)
    return tuple(wheel for wheel, new in published.items() if not new)


def _require_same(place: Path, source: Path | bytes, text: str) -> None:
    """Refuse another content for a published file.

    :param text: what a message says.
    :raises UsageError: it is another.
    """
    same = place.read_bytes() == source if isinstance(source, bytes) else (
        place == source or file_sha256(place) == file_sha256(source)
    )  # fmt: skip
    if not same:
        raise UsageError(
            text, hint="a published file never changes: raise the stack's version, and build again"
        )


def _put(staging: Path, place: Path, source: Path | bytes) -> None:
    """Put a file into its place: written and synced beside it, then renamed."""
    from shutil import copyfileobj

    part = staging / place.name
    with part.open("wb") as file:
        if isinstance(source, bytes):
            file.write(source)
        else:
            with source.open("rb") as given:
                copyfileobj(given, file)
        file.flush()
        os.fsync(file.fileno())
    part.chmod(MODE)
    part.replace(place)
    sync_folder(place.parent)


def _write_pages(staging: Path, folder: Path) -> int:
    """Write the pages of one project from the files that are in its folder."""
    known = _read_known(folder / JSON)
    files = [_describe(path, known) for path in sorted(folder.glob("[!.]*.whl"))]
    _put(staging, folder / HTML, format_html(folder.name, files))
    _put(staging, folder / JSON, format_json(folder.name, files))
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
def _hold(root: Path) -> Iterator[Path]:
    """Let one process at a time change an index; yield a folder in it for what is not ready."""
    import tempfile

    root.mkdir(parents=True, exist_ok=True)
    with hold(root):
        sweep(root, STAGING)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=root) as name:
            yield Path(name)
