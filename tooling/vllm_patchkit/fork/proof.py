"""The proof that patch files say what the commits say that they were made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vllm_patchkit.diff.apply import apply_diff
from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.modes import apply_modes
from vllm_patchkit.digest import blob_id
from vllm_patchkit.errors import PatchkitError, StackError
from vllm_patchkit.fork.commits import Commit, author_of, commit_message
from vllm_patchkit.fork.store.git import Changed, Entry, Repository
from vllm_patchkit.stack.folder import make_patch
from vllm_patchkit.stack.model import Patch
from vllm_patchkit.stack.patch_rules import FULL_ID_DIGITS

HINT = "nothing was written; say it in other words (git commit --amend), and report this"


def require_same(
    repository: Repository, commits: Sequence[Commit], patches: Mapping[str, bytes]
) -> None:
    """Read each patch file as any reader would, and compare it with its commit.

    :raises StackError: message, author or tree are not the commit's; names it.
    """
    if len(commits) != len(patches):
        raise StackError(f"{len(commits)} commits gave {len(patches)} patch files", hint=HINT)
    changes = list_changes(repository, commits)
    blobs: dict[str, bytes] = {}
    for commit, (name, data) in zip(commits, patches.items(), strict=True):
        try:
            patch = make_patch(name, data)
        except (PatchkitError, ValueError) as fault:
            raise StackError(f"{commit} gives a patch that cannot be read: {fault}") from fault
        for text, hint in _differences(repository, commit, patch, changes[commit.oid], blobs):
            raise StackError(f"{commit} cannot be said by a patch file: {text}", hint=hint)


def _differences(
    repository: Repository,
    commit: Commit,
    patch: Patch,
    changes: Mapping[str, Changed],
    blobs: dict[str, bytes],
) -> Iterator[tuple[str, str]]:
    """Yield what the file says otherwise than the commit, and what to do.

    :param blobs: blob id -> bytes of what earlier patches made and no later one has changed yet.
    """
    if commit_message(patch) != commit.message:
        yield "its message would be read as another one", HINT
    if author_of(patch.message) != commit.author:
        author = patch.message
        yield f"its author would be read as {author.author} <{author.email}> {author.date}", HINT
    try:
        made = _apply(repository, patch.files, changes, blobs)
    except PatchkitError as fault:
        yield fault.message, fault.hint or HINT
        return
    for path in sorted(made.keys() | changes.keys()):
        wanted = changes[path].after if path in changes else None
        if path not in changes or made.get(path) != wanted:
            found = made.get(path)
            yield f"{path} would be {_show(found)}, and not {_show(wanted)}", HINT


def _show(entry: Entry | None) -> str:
    return "gone" if entry is None else f"blob {entry.blob[:12]} of mode {entry.mode}"


def _apply(
    repository: Repository,
    files: Sequence[FileDiff],
    changes: Mapping[str, Changed],
    blobs: dict[str, bytes],
) -> dict[str, Entry | None]:
    before = {path: change.before for path, change in changes.items()}

    def read(path: str) -> bytes | None:
        entry = before.get(path)
        if entry is None:
            return None
        made = blobs.pop(entry.blob, None)
        return repository.read_blob(entry.blob) if made is None else made

    def mode(path: str) -> str | None:
        entry = before.get(path)
        return None if entry is None else entry.mode

    contents = apply_diff(files, read)
    modes = apply_modes(files, mode)
    # Where the file says the id in full, applying it has checked it.
    kept = [diff for diff in files if diff.new_path is not None]
    said = {diff.path: diff.new_blob for diff in kept if len(diff.new_blob or "") == FULL_ID_DIGITS}
    ids = {
        path: said.get(path) or blob_id(data) for path, data in contents.items() if data is not None
    }
    blobs.update((blob, contents[path] or b"") for path, blob in ids.items())
    return {path: Entry(modes[path] or "", ids[path]) if path in ids else None for path in contents}


def list_changes(
    repository: Repository, commits: Sequence[Commit]
) -> dict[str, dict[str, Changed]]:
    """Return commit id -> path -> what the commit does to it."""
    listed = repository.run(
        "diff-tree", "--stdin", "-r", "-z", "--root", "--no-renames", "--raw", "--no-abbrev",
        input_bytes="".join(f"{commit.oid}\n" for commit in commits).encode(),
    ).decode("utf-8", "surrogateescape")  # fmt: skip
    found: dict[str, dict[str, Changed]] = {commit.oid: {} for commit in commits}
    words = iter(listed.split("\0")[:-1])
    current: dict[str, Changed] = {}
    for word in words:
        if not word.startswith(":"):
            current = found[word.strip()]
            continue
        current[next(words)] = Changed.parse(word)
    return found
