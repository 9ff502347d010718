"""A second try at a conflict, with the imports of the file taken as a set."""

from __future__ import annotations

from dataclasses import replace

from vllm_patchkit.fork.rebase.imports import (
    SIDES,
    Split,
    edit_statements,
    merge_statements,
    merge_texts,
    split_imports,
    statement_lines,
)
from vllm_patchkit.fork.rebase.merge import Merged, put_blobs
from vllm_patchkit.fork.rebase.style import Style, format_imports
from vllm_patchkit.fork.store.git import Entry, Repository

STAGES = {"base": 1, "ours": 2, "theirs": 3}


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
