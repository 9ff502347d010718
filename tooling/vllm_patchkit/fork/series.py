"""A stack as commits on its base, and commits as the patch files of a stack."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.modes import ORDINARY, apply_modes
from vllm_patchkit.diff.paths import folders_above
from vllm_patchkit.errors import HunkMismatch, PatchFormatError, StackError
from vllm_patchkit.fork.commits import (
    Commit,
    author_of,
    commit_message,
    read_commits,
    settle_commits,
)
from vllm_patchkit.fork.proof import require_same
from vllm_patchkit.fork.store.git import Entry, Repository
from vllm_patchkit.fork.store.repository import Change, File, import_commits
from vllm_patchkit.stack.model import Patch

FORMAT_PATCH = (
    "format-patch",
    "--zero-commit",
    "--full-index",
    "--keep-subject",
    "--no-stat",
    "--no-signature",
    "--no-ext-diff",
    "--no-textconv",
    "--no-add-header",
    "--no-to",
    "--no-cc",
    "--no-thread",
    "--no-attach",
    "--no-cover-letter",
    "--no-notes",
    "--no-color",
    "--no-relative",
    "--no-base",
    "--binary",
    "--find-renames=50%",
    "--diff-algorithm=myers",
    "--indent-heuristic",
    "--unified=3",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--encode-email-headers",
    "--filename-max-length=64",
    "--suffix=.patch",
    "--quiet",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A stack's commits in the store.

    :param base: the commit that the first patch is applied to.
    :param commits: one a patch, in series order.
    :param befores: what each patch was made on, where that is not the commit before it, because
        the patches come from several stacks.
    """

    base: str
    commits: tuple[str, ...]
    befores: tuple[str, ...] = ()

    @property
    def tip(self) -> str:
        """The commit with every patch applied."""
        return self.commits[-1] if self.commits else self.base

    def parent(self, index: int) -> str:
        """The commit that a patch is applied to."""
        if self.befores:
            return self.befores[index]
        return self.commits[index - 1] if index else self.base


def commit_patches(repository: Repository, base: str, patches: Sequence[Patch]) -> Series:
    """Return the patches as commits on ``base``: authors, dates and messages as in their files.

    Every hunk must match exactly; the same patches always give the same commit ids.

    :raises StackError: a patch does not apply; names it, the hunk and the line.
    """
    tree = TreeState(repository, repository.list_tree(base))
    changes = []
    for patch in patches:
        try:
            files = tree.apply(patch.files)
        except HunkMismatch as mismatch:
            raise StackError(
                f"{patch.name} does not apply to the base: {mismatch.message}",
                hint=mismatch.hint,
            ) from mismatch
        author = author_of(patch.message)
        changes.append(Change(author=author, message=commit_message(patch), files=files))
    return Series(base=base, commits=tuple(import_commits(repository, base, changes)))


class TreeState:
    """The files of a tree while patches are applied to it, one on the other."""

    def __init__(self, repository: Repository, entries: Mapping[str, Entry]) -> None:
        self._repository = repository
        self._entries = entries
        self._files: dict[str, File | None] = {}

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where there is no such file."""
        if path in self._files:
            file = self._files[path]
            return None if file is None else file.data
        entry = self._entries.get(path)
        return None if entry is None else self._repository.read_blob(entry.blob)

    def mode(self, path: str) -> str | None:
        """Return a file's mode, None where there is no such file."""
        if path in self._files:
            file = self._files[path]
            return None if file is None else file.mode
        entry = self._entries.get(path)
        return None if entry is None else entry.mode

    def apply(self, files: Sequence[FileDiff]) -> dict[str, File | None]:
        """Apply one patch and return the files that it changes."""
        after = apply_diff(files, self.read)
        modes = apply_modes(files, self.mode)
        changed = {
            path: None if data is None else File(data, modes[path] or ORDINARY)
            for path, data in after.items()
        }
        self.update(changed)
        return changed

    def update(self, files: Mapping[str, File | None]) -> None:
        """Take over files that were changed some other way.

        :raises PatchFormatError: a new file lies where a folder is, or below another file.
        """
        self._require_places(files)
        self._files.update(files)

    def _require_places(self, files: Mapping[str, File | None]) -> None:
        """Refuse what git's trees could hold only by losing what is there."""
        added = [path for path, file in files.items() if file and self.mode(path) is None]
        if not added:
            return
        gone = {path for path, file in {**self._files, **files}.items() if file is None}
        held = {*self._entries, *self._files, *files} - gone
        for path in added:
            file = next((name for name in folders_above(path)[::-1] if name in held), None)
            if file or any(name.startswith(f"{path}/") for name in held):
                raise PatchFormatError(
                    f"{path}: the patch adds this file, but {file or path} is there already, "
                    f"as a {'file' if file else 'folder'}",
                    hint="a path is a file or a folder: give the new file another name",
                )


def export_patches(repository: Repository, base: str, tip: str) -> dict[str, bytes]:
    """Return the commits after ``base`` up to ``tip`` as patch files (see ``export_commits``).

    :raises StackError: the commits are not one line, or one of them changes nothing, or cannot
        be said by a patch file.
    """
    return export_commits(repository, base, read_line(repository, base, tip))


def export_commits(
    repository: Repository, base: str, commits: Sequence[Commit]
) -> dict[str, bytes]:
    """Return a line of commits on ``base`` as patch files, name to bytes, in order.

    The result depends on the commits alone: not on configuration, version of git's defaults,
    locale, or the ids of the commits. Each file is read again before it is returned: it makes
    the commit's tree, and says what the commit says (see ``settle_message``).

    :raises StackError: one of them cannot be said by a patch file.
    """
    settled = settle_commits(repository, base, commits)
    tip = settled[-1].oid if settled else base
    patches = format_patches(repository, base, tip)
    require_same(repository, settled, patches)
    return patches


def format_patches(repository: Repository, base: str, tip: str, *words: str) -> dict[str, bytes]:
    """Return the commits after ``base`` up to ``tip`` as git alone writes them, in order."""
    with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
        folder = Path(name)
        repository.run(*FORMAT_PATCH, *words, "-o", folder, f"{base}..{tip}")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read_line(repository: Repository, base: str, tip: str) -> list[Commit]:
    """Return the commits after ``base`` up to ``tip``, oldest first.

    :raises StackError: ``base`` is not below ``tip``, or there are merges or empty commits.
    """
    if repository.capture("merge-base", "--is-ancestor", base, tip).status:
        raise StackError(
            "the stack's base is no longer below HEAD",
            hint="bring the commits back onto refs/patchkit/base: git rebase refs/patchkit/base",
        )
    listed = repository.text(
        "log", "--reverse", "--topo-order", "--format=%H%x09%T%x09%P%x09%s", f"{base}..{tip}"
    )
    # At a LF alone: a subject may hold what Unicode calls a line end.
    rows = [line.split("\t", 3) for line in listed.split("\n") if line]
    tree = repository.text("rev-parse", f"{base}^{{tree}}")
    for commit, own_tree, parents, subject in rows:
        if len(parents.split()) != 1:
            raise StackError(
                f"commit {commit[:12]} ({subject}) is a merge; a stack is one line of commits",
                hint="git rebase refs/patchkit/base",
            )
        if own_tree == tree:
            raise StackError(
                f"commit {commit[:12]} ({subject}) changes no file, so it cannot be a patch",
                hint="drop it: git rebase --interactive refs/patchkit/base",
            )
        tree = own_tree
    return read_commits(repository, [row[0] for row in rows])
