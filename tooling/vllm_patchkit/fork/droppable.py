"""Which patches a stack can do without, one at a time, as git's merge sees it."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_patchkit.fork.edit import OpenStack
from vllm_patchkit.fork.rebase.merge import NOBODY, merge_patch
from vllm_patchkit.fork.store.git import Repository


def find_dependants(store: Repository, opened: OpenStack) -> Iterator[tuple[str, str | None]]:
    """Yield each patch and the first one that no longer merges without it; None if all do.

    Only later patches that share a file with the dropped one, directly or through each other,
    are merged again; the others cannot notice.
    """
    patches, series = opened.stack.patches, opened.series
    for index, patch in enumerate(patches):
        paths = patch.paths
        tip = series.parent(index)
        blocked = None
        for place in range(index + 1, len(patches)):
            if not paths & patches[place].paths:
                continue
            paths |= patches[place].paths
            merged = merge_patch(
                store, before=series.parent(place), after=series.commits[place], onto=tip
            )
            if not merged.clean:
                blocked = patches[place].name
                break
            tip = store.write_commit(merged.tree, [tip], NOBODY, "without\n")
        yield patch.name, blocked
