"""A release to be looked at: its paths, and the contents of some of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vllm_patchkit.archive.partial import PartialArchive
from vllm_patchkit.fork.base import BaseSpec, BaseTree, find_root, is_source
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.links import open_release


def fetch_nothing(paths: Iterable[str]) -> None:
    """Say nothing: all of it is on this machine."""


@dataclass(frozen=True, slots=True)
class Release:
    """What can be looked at of a release; nothing that is read is proved.

    :param announce: says how much is fetched to read these files, where any is.
    """

    paths: Collection[str]
    root: str
    read: Callable[[str], bytes]
    announce: Callable[[Iterable[str]], None] = fetch_nothing


def stored_release(store: Repository, base: BaseTree) -> Release:
    """Return a release in the store."""
    entries = store.list_tree(base.commit)
    return Release(entries, base.root, lambda path: store.read_blob(entries[path].blob))


@contextmanager
def open_file(wheel: Path) -> Iterator[Release]:
    """Yield the release of a wheel on this machine.

    :raises WheelError: it is no sound archive.
    """
    with wheel.open("rb") as file:
        handle = file.fileno()
        size = os.fstat(handle).st_size
        yield _of_archive(
            PartialArchive(wheel.name, size, lambda offset, count: os.pread(handle, count, offset))
        )


def open_remote(spec: BaseSpec, console: Console) -> Release:
    """Return the release as pip's index has it; only the needed members are fetched.

    :raises NoRanges: no parts of it can be had.
    :raises WheelError: what came is no sound archive.
    """
    console.note(f"ask pip's index for the list of files of {spec}")
    remote = open_release(spec.distribution, spec.version)
    archive = PartialArchive(remote.name, remote.size_bytes, remote.pread)

    def announce(paths: Iterable[str]) -> None:
        wanted = list(paths)
        cost, whole = archive.cost(wanted), archive.size_bytes
        console.note(
            f"fetch {len(wanted)} files of {archive.path.name}: {cost / 1e6:.2f} of "
            f"{whole / 1e6:.1f} MB, its list of files was {archive.directory_bytes / 1e6:.2f}"
        )

    return replace(_of_archive(archive), announce=announce)


def _of_archive(archive: PartialArchive) -> Release:
    paths = {name for name, size in archive.sizes.items() if is_source(name, size)}
    return Release(paths, find_root(paths), archive.read)
