"""A series of patches applied in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.model import Contents, FileDiff, Read
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.errors import HunkMismatch, PatchFormatError
from vllm_patchkit.stack.model import Patch


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one patch of a series does: each path it touches, before and after it."""

    patch: Patch
    before: Contents
    after: Contents


def step_patches(patches: Iterable[Patch], read: Read) -> Iterator[Step]:
    """Apply ``patches`` one on the other and yield each step.

    :param read: gives the base's bytes, or None where it has no such file.
    :raises HunkMismatch: naming patch, file, hunk and line.
    """
    tree: Contents = {}
    for patch in patches:
        after = _apply_named(patch, patch.files, _overlay(tree, read))
        before = {path: tree[path] if path in tree else read(path) for path in after}
        tree.update(after)
        yield Step(patch=patch, before=before, after=after)


def apply_patches(patches: Iterable[Patch], read: Read) -> Contents:
    """Return the net effect of ``patches``: path -> content, None for a file that is gone."""
    tree: Contents = {}
    for step in step_patches(patches, read):
        tree.update(step.after)
    return tree


def revert_patches(patches: Iterable[Patch], read: Read) -> Contents:
    """Return the net effect of taking ``patches`` (in series order) back off again.

    :param read: gives the bytes of the patched tree.
    :raises HunkMismatch: the tree was edited since.
    """
    tree: Contents = {}
    for patch in reversed(tuple(patches)):
        tree.update(_apply_named(patch, reverse_diff(patch.files), _overlay(tree, read)))
    return tree


def _overlay(tree: Contents, read: Read) -> Read:
    return lambda path: tree[path] if path in tree else read(path)


def _apply_named(patch: Patch, files: tuple[FileDiff, ...], read: Read) -> Contents:
    try:
        return apply_diff(files, read)
    except HunkMismatch as error:
        raise HunkMismatch(f"{patch.name}: {error.message}", hint=error.hint) from None
    except PatchFormatError as error:
        raise PatchFormatError(f"{patch.name}: {error.message}", hint=error.hint) from None
