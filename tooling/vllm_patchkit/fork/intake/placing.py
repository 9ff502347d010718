"""The diffs of a patch on the tree of an import: as they are, elsewhere, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vllm_patchkit.diff.apply import apply_file
from vllm_patchkit.diff.model import FileDiff, Line
from vllm_patchkit.diff.modes import ORDINARY
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.errors import HunkMismatch, PatchFormatError
from vllm_patchkit.fork.intake.anchor import Anchored, anchor_file
from vllm_patchkit.fork.intake.dispute import dispute_file
from vllm_patchkit.fork.intake.mailbox import RawPatch
from vllm_patchkit.fork.intake.state import Intake, Rules
from vllm_patchkit.fork.store.repository import File


def apply_patch(
    intake: Intake, patch: RawPatch, files: tuple[FileDiff, ...]
) -> dict[str, File | None]:
    """Apply one patch to the tree so far and return what it changes; notes what was not exact."""
    loose = tuple(replace(diff, old_blob=None, new_blob=None) for diff in files)
    try:
        return intake.tree.apply(loose)
    except (HunkMismatch, PatchFormatError):
        pass
    changed: dict[str, File | None] = {}
    for diff, original in zip(loose, files, strict=True):
        try:
            changed |= intake.tree.apply([diff])
        except PatchFormatError as fault:
            intake.note("refused", patch.source, fault.message, fault.hint)
        except HunkMismatch as mismatch:
            placed = _anchor(intake, patch, original)
            changed |= placed or _refuse(intake, patch, original, mismatch, changed)
    return changed


def _anchor(intake: Intake, patch: RawPatch, diff: FileDiff) -> dict[str, File | None] | None:
    """Place the hunks of one file elsewhere; None where that cannot be."""
    source = diff.old_path
    before = intake.tree.read(source) if source is not None else None
    if before is None or diff.new_path is None or source is None:
        return None
    found, line_ends = None, False
    for candidate in (diff, _with_line_ends(diff, before)):
        if candidate is not None and found is None:
            line_ends = candidate is not diff
            found = anchor_file(
                candidate, before, max_fuzz=intake.rules.max_fuzz, store=intake.store
            )
    if found is None:
        return None
    if line_ends:
        intake.note("line ends", patch.source, f"{source}: line ends made those of the file")
    _note_anchor(intake, patch, source, found, line_ends=line_ends)
    return _put(intake, diff, found.content)


def _put(intake: Intake, diff: FileDiff, content: bytes | None) -> dict[str, File | None]:
    """Give the file of a diff its new content, None to delete it."""
    mode = diff.sets_mode or intake.tree.mode(diff.old_path or diff.path) or ORDINARY
    changed: dict[str, File | None] = {diff.path: None if content is None else File(content, mode)}
    if diff.renamed and diff.old_path is not None:
        changed[diff.old_path] = None
    intake.tree.update(changed)
    return changed


def _refuse(
    intake: Intake,
    patch: RawPatch,
    diff: FileDiff,
    mismatch: HunkMismatch,
    changed: Mapping[str, File | None],
) -> dict[str, File | None]:
    """Note why a diff does not apply, and leave it to a work tree where the rules say so.

    :param changed: what the diffs before it changed; a merge would lose that of the same file.
    """
    path = diff.old_path or diff.path
    before = intake.tree.read(path)
    why = mismatch.message
    if before is not None and diff.old_path is not None and diff.new_path is not None:
        why = _explain(diff, before, mismatch, intake.rules)
    taken = (diff.renamed or diff.copied) and intake.tree.read(diff.path) is not None
    if not intake.rules.edit or before is None or taken:
        intake.note("refused", patch.source, why)
        return {}
    if path in changed:
        again = f"{why}; the patch changes {path} twice"
        intake.note("refused", patch.source, again, "make two patches of it, one after the other")
        return {}
    return _dispute(intake, patch, _with_line_ends(diff, before) or diff, before, why)


def _dispute(
    intake: Intake, patch: RawPatch, diff: FileDiff, before: bytes, why: str
) -> dict[str, File | None]:
    """Take a diff as if it had been made on other content, so that its merge conflicts."""
    path = diff.old_path or diff.path
    mode = intake.tree.mode(path) or ORDINARY
    wanted: bytes | None = b"".join(hunk.after for hunk in diff.hunks)
    if diff.old_path is None:
        intake.origins[path] = None
    elif diff.new_path is None:
        intake.origins[path] = File(b"".join(hunk.before for hunk in diff.hunks), mode)
        wanted = None
    else:
        made = dispute_file(diff.hunks, before)
        intake.origins[path] = File(made.origin, mode)
        wanted = made.patched
        if made.numbers and not _is_applied(diff, before):
            numbers = ", ".join(map(str, made.numbers))
            why = f"{path}: hunk {numbers} of {len(diff.hunks)} fits nowhere"
    intake.note("conflict", patch.source, why)
    return _put(intake, diff, wanted)


def _with_line_ends(diff: FileDiff, before: bytes) -> FileDiff | None:
    """Return the diff with the file's line ends, None where they are no other."""
    crlf = b"\r\n" in before
    lines = [line.content for hunk in diff.hunks for line in hunk.lines]
    if crlf == any(line.endswith(b"\r\n") for line in lines):
        return None

    def convert(line: Line) -> Line:
        text = line.content.replace(b"\r\n", b"\n")
        return Line(line.op, text.replace(b"\n", b"\r\n") if crlf else text)

    hunks = tuple(replace(hunk, lines=tuple(map(convert, hunk.lines))) for hunk in diff.hunks)
    return replace(diff, hunks=hunks)


def _note_anchor(
    intake: Intake, patch: RawPatch, path: str, found: Anchored, *, line_ends: bool
) -> None:
    if found.merged:
        text = f"{path}: cut from another version of the file; merged three-way"
        intake.note("merged", patch.source, text)
    for hunk, line, off in found.offsets:
        text = f"{path}: hunk {hunk} moved by {off} lines, to line {line}"
        intake.note("offset", patch.source, text)
    if not (found.offsets or found.fuzz or found.merged or line_ends):
        text = f"{path}: the line numbers of the hunk headers were wrong; corrected"
        intake.note("offset", patch.source, text)
    if found.fuzz:
        text = f"{path}: placed ignoring {found.fuzz} lines of context on a side"
        intake.note("fuzz", patch.source, text)


def _explain(diff: FileDiff, before: bytes, mismatch: HunkMismatch, rules: Rules) -> str:
    text = mismatch.message
    if _is_applied(diff, before):
        return f"{diff.path}: the release has this change already"
    if rules.max_fuzz < 2:
        loose = anchor_file(diff, before, max_fuzz=2)
        if loose is not None:
            return f"{text}; it would fit ignoring context (fuzz {loose.fuzz})"
    return text


def _is_applied(diff: FileDiff, before: bytes) -> bool:
    (back,) = reverse_diff([replace(diff, old_blob=None, new_blob=None)])
    try:
        apply_file(back, before)
    except (HunkMismatch, PatchFormatError):
        return False
    return True
