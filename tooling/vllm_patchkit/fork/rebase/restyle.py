"""A stack's commits between trees in another style."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vllm_patchkit.fork.rebase.merge import NOBODY, replace_files
from vllm_patchkit.fork.rebase.style import Style, format_blobs
from vllm_patchkit.fork.series import Series, author_of, commit_message
from vllm_patchkit.fork.store.git import Entry, Person, Repository
from vllm_patchkit.fork.store.repository import Change, File, import_commits
from vllm_patchkit.stack.model import Patch


def restyle_tree(store: Repository, style: Style, tree: str, paths: Sequence[str]) -> str:
    """Return a tree with these files formatted."""
    entries = store.list_tree(tree, *paths)
    formatted = format_blobs(store, style, [(entry.blob, path) for path, entry in entries.items()])
    files = {
        path: formatted[entry.blob] for path, entry in entries.items() if entry.blob in formatted
    }
    return replace_files(store, tree, files)


def restyle_series(
    store: Repository, style: Style, patches: Sequence[Patch], series: Series
) -> Series:
    """Return the same patches as commits between trees in another style.

    Every version of every file that the stack touches is formatted, the base's included, so each
    commit still says what its patch says and nothing about style.
    """
    steps = [
        dict(_touched(store, series.parent(index), commit))
        for index, commit in enumerate(series.commits)
    ]
    paths = {path for step in steps for path in step}
    base = store.list_tree(series.base, *paths) if paths else {}
    wanted = {entry.blob: path for path, entry in base.items()}
    wanted |= {entry.blob: path for step in steps for path, entry in step.items() if entry}
    formatted = format_blobs(store, style, wanted.items())

    def change(author: Person, message: str, files: Mapping[str, Entry | None]) -> Change:
        return Change(
            author=author,
            message=message,
            files={
                path: None
                if entry is None
                else File(formatted.get(entry.blob) or store.read_blob(entry.blob), entry.mode)
                for path, entry in files.items()
            },
        )

    changes = [change(NOBODY, f"In {style.name} style\n", base)]
    for patch, step in zip(patches, steps, strict=True):
        changes.append(change(author_of(patch.message), commit_message(patch), step))
    first, *commits = import_commits(store, series.base, changes)
    return Series(base=first, commits=tuple(commits))


def _touched(store: Repository, before: str, after: str) -> Iterator[tuple[str, Entry | None]]:
    """Yield path and entry (None for a deletion) of the files that a commit changes."""
    listed = store.run("diff-tree", "-r", "-z", "--no-renames", before, after)
    words = listed.decode("utf-8", "surrogateescape").split("\0")[:-1]
    for info, path in zip(words[::2], words[1::2], strict=True):
        _, mode, _, blob, _ = info.split()
        yield path, None if mode == "000000" else Entry(mode, blob)
