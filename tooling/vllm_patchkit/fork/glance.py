"""A release to be looked at: its paths, and the contents of some of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vllm_patchkit.archive.partial import PartialArchive
from vllm_patchkit.fork.base import BaseSpec, BaseTree, find_root, is_source
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.links import open_release


class StoredRelease:
    """A release in the store."""

    def __init__(self, store: Repository, base: BaseTree) -> None:
        self._store, self.root = store, base.root
        self.paths = store.list_tree(base.commit)

    def announce(self, paths: Iterable[str]) -> None:
        """Nothing is fetched."""

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        return self._store.read_blob(self.paths[path].blob)


@dataclass(frozen=True, slots=True)
class WheelRelease:
    """A release in a wheel of which only the needed members are read, and none is proved.

    :param fetched: an index gives the parts, so that reading them is worth a word.
    """

    archive: PartialArchive
    paths: Collection[str]
    root: str
    console: Console
    fetched: bool

    @classmethod
    def of(cls, archive: PartialArchive, console: Console, *, fetched: bool) -> WheelRelease:
        """Return the release of an archive."""
        paths = {name for name, size in archive.sizes.items() if is_source(name, size)}
        return cls(archive, paths, find_root(paths), console, fetched)

    @classmethod
    @contextmanager
    def open_file(cls, wheel: Path, console: Console) -> Iterator[WheelRelease]:
        """Yield the release of a wheel on this machine.

        :raises WheelError: it is no sound archive.
        """
        with wheel.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            archive = PartialArchive(wheel.name, size, partial(_pread, file.fileno()))
            yield cls.of(archive, console, fetched=False)

    @classmethod
    def open_remote(cls, spec: BaseSpec, console: Console) -> WheelRelease:
        """Return the release as pip's index has it.

        :raises NoRanges: no parts of it can be had.
        :raises WheelError: what came is no sound archive.
        """
        console.note(f"ask pip's index for the list of files of {spec}")
        remote = open_release(spec.distribution, spec.version)
        archive = PartialArchive(remote.name, remote.size_bytes, remote.pread)
        return cls.of(archive, console, fetched=True)

    def announce(self, paths: Iterable[str]) -> None:
        """Say how much of the wheel will be fetched."""
        if not self.fetched:
            return
        wanted = list(paths)
        cost, whole = self.archive.cost(wanted), self.archive.size_bytes
        self.console.note(
            f"fetch {len(wanted)} files of {self.archive.path.name}: {cost / 1e6:.2f} of "
            f"{whole / 1e6:.1f} MB, its list of files was {self.archive.directory_bytes / 1e6:.2f}"
        )

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        return self.archive.read(path)


Release = StoredRelease | WheelRelease


def _pread(handle: int, offset: int, length: int) -> bytes:
    return os.pread(handle, length, offset)
