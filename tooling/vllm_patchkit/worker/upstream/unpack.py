"""The tests out of a release's sdist."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

WANTED = ("tests", "pyproject.toml")


def unpack(sdist: Path, root: Path) -> None:
    """Write the tests, and pytest's settings, below ``root``; nothing else of the sdist.

    The sdist's ``vllm`` would be imported in place of the one to test. Links and special files are
    left out.

    :raises ValueError: a path leads elsewhere.
    """
    with tarfile.open(sdist) as archive:
        for member, path in _wanted(archive):
            stream = archive.extractfile(member)
            if stream is not None:
                target = root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(stream.read())


def _wanted(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, PurePosixPath]]:
    """Yield the files to write, each with its path below the sdist's one folder."""
    for member in archive:
        parts = PurePosixPath(member.name).parts[1:]
        if member.isfile() and parts and parts[0] in WANTED:
            if ".." in parts:
                raise ValueError(f"{member.name}: a path in an sdist does not lead upwards")
            yield member, PurePosixPath(*parts)
