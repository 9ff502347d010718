"""Other people's patches as a locked stack."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.paths import folders_above
from vllm_patchkit.errors import PatchFormatError, PatchkitError
from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.commits import quoted_lines
from vllm_patchkit.fork.intake.heading import author_of_raw, message_of_raw
from vllm_patchkit.fork.intake.layout import Layout, parse_any, place_files
from vllm_patchkit.fork.intake.mailbox import RawPatch
from vllm_patchkit.fork.intake.note import Note
from vllm_patchkit.fork.intake.placing import apply_patch
from vllm_patchkit.fork.intake.state import Intake, Rules
from vllm_patchkit.fork.leftout import left_out_name
from vllm_patchkit.fork.series import TreeState
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.fork.store.repository import Change, File
from vllm_patchkit.stack.prose import settle_message

# How far git looks for a NUL (buffer_is_binary).
BINARY_BYTES = 8000


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A patch as a commit to be made.

    :param diffs: the patch itself, with paths of the base.
    :param origins: files as the patch shall seem to have found them, where it does not apply.
    """

    change: Change
    diffs: tuple[FileDiff, ...]
    origins: Mapping[str, File | None]


def convert_patches(
    store: Repository,
    base: BaseTree,
    patches: Sequence[RawPatch],
    rules: Rules,
    *,
    left_out: dict[str, bytes] | None = None,
) -> tuple[list[Converted], list[Note]]:
    """Return the patches as commits to be made on the base, and every note.

    :param left_out: gets the parts that the base does not ship, by where a stack keeps them.
    :raises PatchkitError: patches cannot be taken; lists all of the reasons.
    """
    entries = store.list_tree(base.commit)
    folders = {folder for path in entries for folder in folders_above(path)}
    intake = Intake(
        store=store, base=base, rules=rules, tree=TreeState(store, entries), folders=folders,
        left_out={} if left_out is None else left_out,
    )  # fmt: skip
    converted = [one for patch in patches if (one := _convert(intake, patch)) is not None]
    refused = [note for note in intake.notes if note.kind == "refused"]
    if refused:
        raise PatchkitError(
            f"{len(refused)} of the changes cannot be imported onto {base.spec}:\n"
            + "\n".join(f"  {note}" for note in refused),
            hint=_hint(refused, rules),
        )
    if not converted:
        raise PatchkitError(f"none of the patches changes a file of {base.spec}")
    return converted, intake.notes


def _hint(refused: Sequence[Note], rules: Rules) -> str:
    texts = " ".join(note.text for note in refused)
    stuck = not rules.edit and "does not match" in texts
    edit = "; --edit stops at what does not apply, in a work tree" if stuck else ""
    if "does not ship" in texts and not rules.python_only:
        return f"--python-only leaves out what the wheel does not ship; -p sets what to strip{edit}"
    hints = {note.hint for note in refused}
    if len(hints) == 1 and (hint := hints.pop()) is not None:
        return hint
    loose = sum("ignoring context" in note.text for note in refused)
    if loose == len(refused):
        return "look at these hunks, then allow them with --fuzz N"
    other = f"is this the release that the patches were made for? --base names another{edit}"
    return f"{other}; --fuzz would place {loose} of {len(refused)}" if loose else other


def _convert(intake: Intake, patch: RawPatch) -> Converted | None:
    """Apply one patch to the tree so far and return its commit, None where it changes nothing."""
    intake.origins = {}
    diffs = _place(intake, patch)
    files = apply_patch(intake, patch, diffs)
    for path, file in files.items():
        if file is not None and b"\0" in file.data[:BINARY_BYTES]:
            text = f"{path} would hold a NUL, so that git takes it for binary"
            intake.note("refused", patch.source, text, "stacks carry source text only")
    if not files:
        return None
    rules = intake.rules
    message = message_of_raw(patch, rules.author if rules.signoff else None, intake.base)
    if quoted := quoted_lines(message):
        where = ", ".join(map(str, quoted[:5]))
        text = f"line {where} of the message is no prose to git; '> ' put before it"
        intake.note("quoted", patch.source, text)
    author = author_of_raw(patch, rules.author, intake.base)
    change = Change(author=author, message=settle_message(message), files=files)
    return Converted(change=change, diffs=diffs, origins=intake.origins)


def _place(intake: Intake, patch: RawPatch) -> tuple[FileDiff, ...]:
    """Return the diffs of a patch with paths of the base; what has none is noted."""
    rules = intake.rules
    strip = patch.strip if rules.strip is None else rules.strip
    data = patch.data
    if b"\r\n" in data and not re.search(rb"(?m)^(?:diff --git|\+\+\+ ) ?[^\r\n]*\n", data):
        intake.note("line ends", patch.source, "the file has CRLF line ends; taken as LF")
        data = data.replace(b"\r\n", b"\n")
    try:
        files, taken = parse_any(data, strip=strip, source=patch.source)
    except PatchFormatError as fault:
        text = fault.message.removeprefix(f"{patch.source}:")
        intake.note("refused", patch.source, text, fault.hint)
        return ()
    placed = place_files(
        files,
        intake.exists,
        root=intake.base.root,
        hint=patch.hint,
        exact=strip is not None,
    )
    _note_layout(intake, patch, placed.layouts, taken)
    for name in placed.missing:
        if rules.python_only:
            kept = left_out_name(patch.source)
            shipped = f"not in the wheel of {intake.base.spec}: {name}"
            text = f"left out: {shipped} (kept in {kept})"
            intake.note("left out", patch.source, text)
        else:
            text = f"{intake.base.spec}'s wheel does not ship {name}"
            intake.note("refused", patch.source, text)
    missing = [diff for diff in files if diff.path in placed.missing]
    if rules.python_only and missing:
        name = left_out_name(patch.source)
        intake.left_out[name] = intake.left_out.get(name, b"") + format_diff(missing)
    return placed.files


def _note_layout(intake: Intake, patch: RawPatch, layouts: frozenset[Layout], taken: int) -> None:
    for layout in sorted(layouts, key=lambda item: (item.strip, item.prefix)):
        if layout.prefix:
            intake.note("layout", patch.source, f"names are relative to {layout.prefix}")
        if layout.strip:
            intake.note("layout", patch.source, f"names are taken as -p{layout.strip + taken}")
