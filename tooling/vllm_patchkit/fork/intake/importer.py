"""Other people's patches as a locked stack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from vllm_patchkit.diff.apply import apply_file
from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import FileDiff, Line
from vllm_patchkit.diff.modes import ORDINARY
from vllm_patchkit.diff.reverse import reverse_diff
from vllm_patchkit.errors import HunkMismatch, PatchFormatError, PatchkitError, UsageError
from vllm_patchkit.fork.base import BaseTree
from vllm_patchkit.fork.commits import quoted_lines
from vllm_patchkit.fork.intake.anchor import Anchored, anchor_file
from vllm_patchkit.fork.intake.layout import Layout, parse_any, place_files
from vllm_patchkit.fork.intake.note import Kind, Note
from vllm_patchkit.fork.intake.sources import RawPatch
from vllm_patchkit.fork.leftout import left_out_name
from vllm_patchkit.fork.publish import Published
from vllm_patchkit.fork.series import TreeState
from vllm_patchkit.fork.store.git import Person, Repository, parse_mail_date
from vllm_patchkit.fork.store.repository import Change, File
from vllm_patchkit.stack.message import parse_address
from vllm_patchkit.stack.prose import settle_message

SUBSYSTEM = "fork"
UNKNOWN_AUTHOR = "unknown author <unknown@localhost.invalid>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How much an import may take upon itself.

    :param strip: components to take off every name (``-p``); None lets the base decide.
    :param max_fuzz: context lines that a hunk may miss; reported, 0 refuses.
    :param python_only: leave out targets that the wheel does not ship, instead of refusing.
    :param author: who wrote the patches that do not say it.
    """

    strip: int | None = None
    max_fuzz: int = 0
    python_only: bool = False
    author: str = UNKNOWN_AUTHOR
    signoff: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """The outcome of an import."""

    published: Published
    notes: tuple[Note, ...]


@dataclass(kw_only=True, slots=True)
class _Intake:
    """The state of an import: the tree so far, and what was noticed."""

    store: Repository
    base: BaseTree
    rules: Rules
    tree: TreeState
    folders: set[str]
    notes: list[Note] = field(default_factory=list)
    left_out: dict[str, bytes] = field(default_factory=dict)

    def exists(self, path: str) -> bool:
        return path in self.folders or self.tree.read(path) is not None

    def note(self, kind: Kind, source: str, text: str, hint: str | None = None) -> None:
        self.notes.append(Note(kind=kind, source=source, text=text, hint=hint))


def convert_patches(
    store: Repository,
    base: BaseTree,
    patches: Sequence[RawPatch],
    rules: Rules,
    *,
    left_out: dict[str, bytes] | None = None,
) -> tuple[list[Change], list[Note]]:
    """Return the patches as commits to be made on the base, and every note.

    :param left_out: gets the parts that the base does not ship, by where a stack keeps them.
    :raises PatchkitError: patches cannot be taken; lists all of the reasons.
    """
    entries = store.list_tree(base.commit)
    folders = {path[:place] for path in entries for place in _slashes(path)}
    intake = _Intake(
        store=store, base=base, rules=rules, tree=TreeState(store, entries), folders=folders,
        left_out={} if left_out is None else left_out,
    )  # fmt: skip
    changes = []
    for patch in patches:
        files = _convert(intake, patch)
        if files:
            message = _message(patch, rules, base)
            if quoted := quoted_lines(message):
                where = ", ".join(map(str, quoted[:5]))
                text = f"line {where} of the message is no prose to git; '> ' put before it"
                intake.note("quoted", patch.source, text)
            author = _author(patch, rules, base)
            changes.append(Change(author=author, message=settle_message(message), files=files))
    refused = [note for note in intake.notes if note.kind == "refused"]
    if refused:
        raise PatchkitError(
            f"{len(refused)} of the changes cannot be imported onto {base.spec}:\n"
            + "\n".join(f"  {note}" for note in refused),
            hint=_hint(refused, rules),
        )
    if not changes:
        raise PatchkitError(f"none of the patches changes a file of {base.spec}")
    return changes, intake.notes


def _slashes(path: str) -> Iterator[int]:
    return (match.start() for match in re.finditer("/", path))


def _hint(refused: Sequence[Note], rules: Rules) -> str:
    texts = " ".join(note.text for note in refused)
    if "does not ship" in texts and not rules.python_only:
        return "--python-only leaves out what the wheel does not ship; -p sets what to strip"
    hints = {note.hint for note in refused}
    if len(hints) == 1 and (hint := hints.pop()) is not None:
        return hint
    loose = sum("ignoring context" in note.text for note in refused)
    if loose == len(refused):
        return "look at these hunks, then allow them with --fuzz N"
    other = "is this the release that the patches were made for? --base names another"
    return f"{other}; --fuzz would place {loose} of {len(refused)}" if loose else other


def _convert(intake: _Intake, patch: RawPatch) -> dict[str, File | None]:
    """Apply one patch to the tree so far and return what it changes."""
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
        return {}
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
    return _apply(intake, patch, placed.files)


def _note_layout(intake: _Intake, patch: RawPatch, layouts: frozenset[Layout], taken: int) -> None:
    for layout in sorted(layouts, key=lambda item: (item.strip, item.prefix)):
        if layout.prefix:
            intake.note("layout", patch.source, f"names are relative to {layout.prefix}")
        if layout.strip:
            intake.note("layout", patch.source, f"names are taken as -p{layout.strip + taken}")


def _apply(intake: _Intake, patch: RawPatch, files: tuple[FileDiff, ...]) -> dict[str, File | None]:
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
            changed |= _anchor(intake, patch, original, mismatch)
    return changed


def _anchor(
    intake: _Intake, patch: RawPatch, diff: FileDiff, mismatch: HunkMismatch
) -> dict[str, File | None]:
    """Place the hunks of one file elsewhere, or note why that cannot be."""
    source = diff.old_path
    before = intake.tree.read(source) if source is not None else None
    if before is None or diff.new_path is None or source is None:
        intake.note("refused", patch.source, mismatch.message)
        return {}
    found, line_ends = None, False
    for candidate in (diff, _with_line_ends(diff, before)):
        if candidate is not None and found is None:
            line_ends = candidate is not diff
            found = anchor_file(
                candidate, before, max_fuzz=intake.rules.max_fuzz, store=intake.store
            )
    if found is None:
        intake.note("refused", patch.source, _explain(diff, before, mismatch, intake.rules))
        return {}
    if line_ends:
        intake.note("line ends", patch.source, f"{source}: line ends made those of the file")
    _note_anchor(intake, patch, source, found, line_ends=line_ends)
    mode = diff.sets_mode or intake.tree.mode(source) or ORDINARY
    changed: dict[str, File | None] = {diff.new_path: File(found.content, mode)}
    if diff.renamed:
        changed[source] = None
    intake.tree.update(changed)
    return changed


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
    intake: _Intake, patch: RawPatch, path: str, found: Anchored, *, line_ends: bool
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


def _author(patch: RawPatch, rules: Rules, base: BaseTree) -> Person:
    name, email = patch.author, patch.email
    if not email:
        name, email = parse_address(rules.author)
    if not name or re.search(r"[<>\n]", name + email):
        raise UsageError(
            f"{patch.source}: {name} <{email}> cannot be an author",
            hint='name one with --author "Name <address>"',
        )
    # Without a date of its own a patch gets its base's: the same input gives the same stack.
    return Person(name, email, _date(patch, base))


def _date(patch: RawPatch, base: BaseTree) -> str:
    if not patch.date:
        return base.date
    try:
        return parse_mail_date(patch.date)
    except PatchFormatError as fault:
        raise PatchFormatError(f"{patch.source}: {fault.message}", hint=fault.hint) from None


def _message(patch: RawPatch, rules: Rules, base: BaseTree) -> str:
    """Return the commit message, with the DEP-3 trailers that it lacks."""
    body = patch.body.strip("\n") or f"Imported from {patch.source}."
    last = body.rpartition("\n\n")[2]
    has_trailers = bool(
        re.fullmatch(r"(?:[A-Za-z][A-Za-z0-9-]*: .*(?:\n|\Z)|[ \t].*(?:\n|\Z))+", last)
    )
    seconds = int(_date(patch, base).split()[0])
    day = datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
    trailers = {"Subsystem": SUBSYSTEM, "Origin": "other", "Forwarded": "no", "Last-Update": day}
    if rules.signoff:
        trailers["Signed-off-by"] = rules.author
    present = last.lower() if has_trailers else ""
    lines = [
        f"{key}: {value}"
        for key, value in trailers.items()
        if not re.search(rf"(?m)^{key.lower()}:", present)
    ]
    separator = "\n" if has_trailers else "\n\n"
    return f"{patch.subject}\n\n{body}" + (separator + "\n".join(lines) if lines else "") + "\n"
