"""Import statements as the set that they are, so that two neighbours do not conflict.

Upstream and a fork both add imports, at the same few lines, sorted by the same tool. A merge by
lines calls that a conflict; a person who resolves it keeps both and sorts. Here the imports of
each side are laid out one a slot, every slot known to all sides, so that git's own merge
decides on each import alone; the rest of the file is merged as ever.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vllm_patchkit.fork.rebase.merge import Merged, merge_contents, put_blobs
from vllm_patchkit.fork.rebase.style import Style, format_imports
from vllm_patchkit.fork.store.git import Entry, Repository

SLOT = "# slot "
SIDES = ("ours", "base", "theirs")
STAGES = {"base": 1, "ours": 2, "theirs": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A Python file cut at its first block of imports."""

    head: str
    imports: str
    rest: str


def untangle_imports(store: Repository, merged: Merged, style: Style) -> Merged:
    """Return the merge with the import conflicts of its files settled.

    Files whose imports cannot be taken as a set (they do not parse, are not sorted the style's
    way, or are changed in ways that do conflict) stay as git left them.
    """
    stages = dict(merged.stages)
    blobs: dict[str, Entry] = {}
    for path, entries in merged.stages.items():
        if not path.endswith(".py") or len(entries) != len(STAGES):
            continue
        texts = {
            side: store.read_blob(entries[stage].blob).decode("utf-8", "surrogateescape")
            for side, stage in STAGES.items()
        }
        found = _merge_file(texts, style)
        if found is None:
            continue
        text, clean = found
        blob = store.write_object("blob", text.encode("utf-8", "surrogateescape"))
        blobs[path] = Entry(entries[2].mode, blob)
        if clean:
            del stages[path]
    if not blobs:
        return merged
    messages = merged.messages if stages else ()
    tree = put_blobs(store, merged.tree, blobs)
    return replace(merged, tree=tree, stages=stages, messages=messages)


def _merge_file(texts: dict[str, str], style: Style) -> tuple[str, bool] | None:
    """Return a file merged and whether it is clean, None where its imports are no set."""
    parts = {side: split_imports(text) for side, text in texts.items()}
    if None in parts.values():
        return None
    split = {side: part for side, part in parts.items() if part is not None}
    imports = _merge_imports(split, style)
    if imports is None:
        return None
    return merge_texts({side: split[side].head + imports + split[side].rest for side in SIDES})


def _merge_imports(split: dict[str, Split], style: Style) -> str | None:
    """Return the merged block of imports, as the new release would write it."""
    single = format_imports(style, [split[side].imports for side in SIDES], single=True)
    if single is None:
        return None
    ours = single[0]
    lines = [statement_lines(block) for block in single]
    known = {side: block for side, block in zip(SIDES, lines, strict=True) if block is not None}
    if len(known) != len(SIDES):
        return None
    merged = merge_statements(known)
    if merged is None:
        return None
    blocks = format_imports(style, [ours, edit_statements(ours, merged)], single=False)
    # Only where taking the imports apart and putting them together gives what upstream has.
    if blocks is None or blocks[0] != split["ours"].imports:
        return None
    return blocks[1]


def split_imports(text: str) -> Split | None:
    """Return the file in three parts, None where it has no imports or does not parse.

    The block is the first run of import statements at the top level, with the comments in it.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    kinds = [isinstance(node, (ast.Import, ast.ImportFrom)) for node in body]
    if True not in kinds:
        return None
    first = kinds.index(True)
    last = first
    while last + 1 < len(kinds) and kinds[last + 1]:
        last += 1
    lines = text.splitlines(keepends=True)
    start, end = body[first].lineno - 1, body[last].end_lineno
    assert end is not None
    return Split(
        head="".join(lines[:start]), imports="".join(lines[start:end]), rest="".join(lines[end:])
    )


def statement_lines(single: str) -> list[str] | None:
    """Return a block's statements, one line each; None where one does not fit on a line."""
    lines = [line for line in single.splitlines() if line.strip() and not line.startswith("#")]
    plain = re.compile(r"(?:import|from) [^()\\]+(?:#.*)?")
    return lines if all(plain.fullmatch(line) for line in lines) else None


def merge_statements(sides: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return git's merge of three lists of statements, each in a slot of its own."""
    slots = sorted({line for lines in sides.values() for line in lines})
    texts = {
        side: "".join(
            f"{SLOT}{number}\n{line}\n{SLOT}{number}.\n"
            if line in lines
            else f"{SLOT}{number}\n{SLOT}{number}.\n"
            for number, line in enumerate(slots)
        )
        for side, lines in sides.items()
    }
    merged, clean = merge_texts(texts)
    if not clean:
        return None
    return [line for line in merged.splitlines() if not line.startswith(SLOT)]


def merge_texts(texts: Mapping[str, str]) -> tuple[str, bool]:
    """Return ``git merge-file`` of ``ours``, ``base`` and ``theirs``, and whether it is clean."""
    ours, base, theirs = (texts[side].encode("utf-8", "surrogateescape") for side in SIDES)
    merged, clean = merge_contents(ours, base, theirs, "--diff3")
    return merged.decode("utf-8", "surrogateescape"), clean


def edit_statements(single: str, merged: Sequence[str]) -> str:
    """Return a block of one-line imports with exactly the ``merged`` ones, comments in place."""
    lines = single.splitlines()
    wanted = set(merged)
    present = set(lines)
    kept = [line for line in lines if line in wanted or not line.strip() or line.startswith("#")]
    return "\n".join([*kept, *(line for line in merged if line not in present)]) + "\n"
