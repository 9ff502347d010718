"""Whether the files of a stack are executable: before, between and after its patches. Pure.

A lock says what a file is by its sha256. Where some patch of the stack says whether the file is
executable, ``" +x"`` after the sha256 says that it is; all that compares what a file is then
compares that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.modes import ORDINARY, ReadMode, apply_modes
from vllm_patchkit.digest import digest_or_none
from vllm_patchkit.stack.model import Patch

EXECUTABLE = "100755"
MARK = " +x"
Modes = dict[str, "str | None"]
IsExecutable = Callable[[str], bool]


def identify(content: bytes | None, *, executable: bool) -> str | None:
    """Return what a lock says of a file, None where there is none."""
    digest = digest_or_none(content)
    return digest + MARK if digest and executable else digest


def content_digest(identity: str | None) -> str | None:
    """Return the sha256 of what a lock says of a file."""
    return None if identity is None else identity.removesuffix(MARK)


def says_executable(identity: str | None) -> bool:
    """Return whether a lock says that the file is executable."""
    return identity is not None and identity.endswith(MARK)


def mode_of(*, executable: bool) -> str:
    """Return a mode as git writes it."""
    return EXECUTABLE if executable else ORDINARY


def modes_after(steps: Iterable[Iterable[FileDiff]], read: ReadMode) -> Modes:
    """Return the modes that several diffs leave, one after the other.

    :param read: gives the mode of a file before the first one.
    """
    tree: Modes = {}
    for files in steps:
        tree.update(apply_modes(files, lambda path: tree[path] if path in tree else read(path)))
    return tree


def locked_modes(patches: Iterable[Patch]) -> list[Modes]:
    """Return the modes in the base, as far as the patches say, and then what each patch leaves."""
    patches = tuple(patches)
    said = _said_modes(patches)
    tree: Modes = dict(said)
    steps = [said]
    for patch in patches:
        steps.append(apply_modes(patch.files, tree.get))
        tree.update(steps[-1])
    return steps


def _said_modes(patches: Iterable[Patch]) -> Modes:
    said: Modes = {}
    settled: set[str] = set()
    for diff in (diff for patch in patches for diff in patch.files):
        path = diff.old_path
        if path is not None and path not in settled and diff.old_mode != diff.new_mode:
            said.setdefault(path, diff.old_mode)
        if diff.sets_mode or diff.old_path != diff.new_path:
            settled.add(diff.path)
    return said
