"""Applying diffs to bytes: exact context at the exact line, or an error."""

from __future__ import annotations

import io
from collections.abc import Iterable

from vllm_patchkit.diff.model import Contents, FileDiff, Hunk, Read
from vllm_patchkit.diff.paths import path_fault
from vllm_patchkit.digest import blob_id
from vllm_patchkit.errors import HunkMismatch, PatchFormatError

OTHER_BYTES = "give the base it was cut from, or carry it over: vllm-patchkit import --edit"
EDITED = "if it was edited by hand: vllm-patchkit refresh; else give the base it was cut from"


def apply_diff(files: Iterable[FileDiff], read: Read) -> Contents:
    """Return what ``files`` make of a tree: path -> new content, None for a deletion.

    As in git, a rename or copy takes its source as it was before any of ``files``; other diffs
    see what those before them left.

    :param read: gives a file's bytes, or None where there is none.
    :raises HunkMismatch: the tree is not what the diffs were cut from.
    :raises PatchFormatError: a binary change, or a path that escapes the tree.
    """
    files = tuple(files)
    vacated = {diff.old_path for diff in files if diff.renamed or diff.new_path is None}
    result: dict[str, bytes | None] = {}

    def current(path: str) -> bytes | None:
        return result[path] if path in result else read(path)

    for diff in files:
        _require_safe_paths(diff)
        moved = diff.renamed or diff.copied
        if diff.old_path is None:
            before = None if diff.path in vacated else current(diff.path)
        else:
            before = (read if moved else current)(diff.old_path)
        if moved and diff.new_path and diff.new_path not in vacated:
            _require_absent(diff, current(diff.new_path))
        after = apply_file(diff, before)
        if diff.renamed and diff.old_path is not None:
            result.setdefault(diff.old_path, None)
        result[diff.path] = after
    return result


def apply_file(diff: FileDiff, before: bytes | None) -> bytes | None:
    """Return one file's new content, None where the diff deletes it.

    Every hunk must match byte for byte at its own line: no fuzz, no offset. The blob ids of
    the ``index`` line, where there is one, must be those of ``before`` and of the result.

    :param before: the content of ``diff.old_path``; None where there is no such file.
    :raises HunkMismatch: naming file, hunk and line, what was expected and what was found.
    :raises PatchFormatError: the change is binary.
    """
    if diff.binary:
        raise PatchFormatError(
            f"{diff.path}: a binary change cannot be applied",
            hint="stacks carry source text only; ship binary files by other means",
        )
    if diff.old_path is None:
        _require_absent(diff, before)
    elif before is None:
        raise HunkMismatch(f"{diff.old_path}: the file does not exist", hint=OTHER_BYTES)
    after = _apply_hunks(diff, before or b"")
    if diff.old_path is not None:
        _require_blob(diff.old_path, diff.old_blob, before or b"", "was cut from")
    if diff.new_path is not None or diff.copied:
        _require_blob(diff.path, diff.new_blob, after, "leaves")
    if diff.new_path is not None:
        return after
    if after and not diff.copied:
        raise HunkMismatch(
            f"{diff.path}: the patch deletes the file but leaves {len(after)} bytes of it",
            hint=OTHER_BYTES,
        )
    return None


def _apply_hunks(diff: FileDiff, before: bytes) -> bytes:
    old = io.BytesIO(before).readlines()
    new: list[bytes] = []
    taken = 0
    for number, hunk in enumerate(diff.hunks, 1):
        start = _first_index(hunk.old_start, hunk.old_count)
        _require_match(diff, number, hunk, old, start)
        _require_end(diff, number, hunk, len(old))
        if start < taken:
            raise HunkMismatch(f"{_place(diff, number, hunk)} overlaps the one before it")
        new.extend(old[taken:start])
        if len(new) != _first_index(hunk.new_start, hunk.new_count):
            raise HunkMismatch(
                f"{_place(diff, number, hunk)} says it lands on line {hunk.new_start}, but the "
                f"hunks before it put it on line {len(new) + 1}",
                hint=EDITED,
            )
        new.extend(line.content for line in hunk.lines if line.op != "-")
        taken = start + hunk.old_count
    new.extend(old[taken:])
    after = b"".join(new)
    # Each line was to end with \n, but for the last one: else the result has fewer lines.
    if after.count(b"\n") + (after[-1:] not in (b"\n", b"")) < len(new):
        raise HunkMismatch(f"{diff.path}: the patch ends the file where more lines follow")
    return after


def _first_index(start: int, count: int) -> int:
    """Return the 0-based index of a range; an empty range names the line before it."""
    return start - 1 if count else start


def _require_match(diff: FileDiff, number: int, hunk: Hunk, old: list[bytes], start: int) -> None:
    expected = [line.content for line in hunk.lines if line.op != "+"]
    found = old[start : start + len(expected)]
    if found == expected and start <= len(old):
        return
    index = next((i for i, line in enumerate(found) if line != expected[i]), len(found))
    wanted = _show(expected[index]) if index < len(expected) else f"{start} lines"
    have = _show(found[index]) if index < len(found) else f"the end of the file ({len(old)} lines)"
    raise HunkMismatch(
        f"{_place(diff, number, hunk)} does not match at line {start + index + 1}: "
        f"expected {wanted}, found {have}",
        hint=OTHER_BYTES,
    )


def _require_end(diff: FileDiff, number: int, hunk: Hunk, line_count: int) -> None:
    """Check that the file ends where the hunk says so: context before a change, none after it.

    git apply reads hunks so, too. A hunk without any context may be of a ``-U0`` diff.
    """
    ends = hunk.lines[-1].op != " " and any(line.op == " " for line in hunk.lines)
    last = _first_index(hunk.old_start, hunk.old_count) + hunk.old_count
    if ends and last != line_count:
        raise HunkMismatch(
            f"{_place(diff, number, hunk)} does not match: the patch was cut from a file that "
            f"ends at line {last}, this one has {line_count} lines",
            hint=OTHER_BYTES,
        )


def _require_absent(diff: FileDiff, before: bytes | None) -> None:
    if before is not None:
        raise HunkMismatch(f"{diff.path}: the patch adds this file, but it exists already")


def _require_blob(path: str, recorded: str | None, content: bytes, verb: str) -> None:
    """Check an id of the ``index`` line; all zeros stands for "not known"."""
    if recorded is None or not recorded.strip("0"):
        return
    found = blob_id(content)
    if not found.startswith(recorded):
        raise HunkMismatch(
            f"{path}: the patch {verb} blob {recorded}, but this is blob {found[: len(recorded)]}",
            hint=EDITED,
        )


def _require_safe_paths(diff: FileDiff) -> None:
    for path in (diff.old_path, diff.new_path):
        fault = None if path is None else path_fault(path)
        if fault:
            raise PatchFormatError(f"the file name {path!r} is refused: {fault}")


def _place(diff: FileDiff, number: int, hunk: Hunk) -> str:
    return f"{diff.path}: hunk {number} (-{hunk.old_start},{hunk.old_count})"


def _show(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 120 else text[:117] + "...")
