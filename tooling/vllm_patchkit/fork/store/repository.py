"""The private git store: releases as trees, stacks as commits, and what `undo` goes back to.

It is a bare repository in the cache. Losing it loses no work: bases are fetched again, commits
are made again from the patch files, and only `undo` forgets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vllm_patchkit.errors import HostError
from vllm_patchkit.fork.store.git import (
    COMMITTER,
    COMMITTER_DATE,
    Person,
    Repository,
    git_environment,
    open_repository,
    quote_path,
)
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.files import hold, made_whole
from vllm_patchkit.host.process import run

MINIMUM_GIT = (2, 38)


@dataclass(frozen=True, slots=True)
class File:
    """A file to be committed."""

    data: bytes
    mode: str = "100644"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One commit to be made: ``files`` maps path to new content, None for a deletion."""

    author: Person
    message: str
    files: Mapping[str, File | None] = field(default_factory=dict)


@contextmanager
def open_store() -> Iterator[Repository]:
    """Yield the private store, made if it is missing, locked against a second process.

    :raises HostError: there is no git, or one older than 2.38 (``merge-tree --write-tree``).
    """
    folder = cache_dir() / "git"
    folder.mkdir(exist_ok=True)
    git_dir = folder / "store.git"
    (folder / "lock").touch()
    with hold(folder / "lock"):
        if not git_dir.is_dir():
            _create(git_dir)
        with open_repository(git_dir) as repository:
            yield repository


def _create(git_dir: Path) -> None:
    _require_git()
    # Made beside and renamed: a store that exists is whole.
    with made_whole(git_dir) as fresh:
        run(
            ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=none", fresh],
            env=git_environment(),
        )


def _require_git() -> None:
    words = run(["git", "version"], env=git_environment()).decode().split()
    version = tuple(int(part) for part in words[2].split(".")[:2])
    if version < MINIMUM_GIT:
        wanted = ".".join(map(str, MINIMUM_GIT))
        raise HostError(f"git {words[2]} is too old", hint=f"install git {wanted} or newer")


def import_commits(
    repository: Repository, parent: str | None, changes: Iterable[Change]
) -> list[str]:
    """Commit ``changes`` one on the other, the first on ``parent``, and return the commit ids.

    One ``git fast-import`` does it, however many there are.
    """
    stream: list[bytes] = []
    count = 0
    for count, change in enumerate(changes, 1):
        message = change.message.encode("utf-8", "surrogateescape")
        stream.append(
            b"commit refs/patchkit/import\nmark :%d\nauthor %s\ncommitter %s <%s> %s\ndata %d\n%s\n"
            % (
                count,
                change.author.line().encode("utf-8", "surrogateescape"),
                COMMITTER[0].encode(),
                COMMITTER[1].encode(),
                COMMITTER_DATE.encode(),
                len(message),
                message,
            )
        )
        if count == 1 and parent is not None:
            stream.append(b"from %s\n" % parent.encode())
        stream += _file_commands(change.files)
    if not count:
        return []
    with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
        marks = Path(name) / "marks"
        stream.insert(0, b"reset refs/patchkit/import\n")
        repository.run(
            "fast-import",
            "--quiet",
            "--force",
            "--date-format=raw",
            f"--export-marks={marks}",
            input_bytes=b"".join(stream),
        )
        lines = (line.split() for line in marks.read_text().splitlines())
        ids = {int(mark[1:]): oid for mark, oid in lines}
    repository.run("update-ref", "-d", "refs/patchkit/import")
    return [ids[number] for number in range(1, count + 1)]


def _file_commands(files: Mapping[str, File | None]) -> Iterator[bytes]:
    # Deletions first: a file may make room for a folder of its name.
    for path in sorted(path for path, file in files.items() if file is None):
        yield b"D %s\n" % quote_path(path)
    for path, file in sorted(files.items()):
        if file is not None:
            yield b"M %s inline %s\n" % (file.mode.encode(), quote_path(path))
            yield b"data %d\n%s\n" % (len(file.data), file.data)
