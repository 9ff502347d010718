"""``stack.toml`` written: a new one, or single values of one that somebody keeps by hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vllm_patchkit.errors import StackError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def format_toml(
    tables: Mapping[str, Mapping[str, object]],
    arrays: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    **first: object,
) -> bytes:
    """Return a TOML document: the keys of ``first``, then each table, then each array of tables."""
    import tomlkit

    document = tomlkit.document()
    for key, value in first.items():
        document.add(key, tomlkit.item(value))
    for name, values in tables.items():
        document.add(tomlkit.nl())
        table = tomlkit.table()
        for key, value in values.items():
            table.add(key, tomlkit.item(value))
        document.add(name, table)
    for name, values_of in (arrays or {}).items():
        entries = tomlkit.aot()
        for values in values_of:
            entry = tomlkit.table()
            entry.update(values)
            entries.append(entry)
        if values_of:
            document.add(tomlkit.nl())
            document.add(name, entries)
    return tomlkit.dumps(document).encode("utf-8")


def edit_metadata(
    metadata: bytes,
    *,
    base: Mapping[str, str | None] | None = None,
    patch_count: int | None = None,
    numbers: Mapping[str, str | None] | None = None,
) -> bytes:
    """Return ``stack.toml`` with these values changed and every other byte as it was.

    :param base: new values in ``[base]``; None takes a key out.
    :param patch_count: the new count, written only where the file has one.
    :param numbers: old patch number -> new one, for the probes and a composed stack's parents;
        what is said of a patch that is gone (None) goes with it.
    :raises StackError: it is not TOML, or lacks ``[base]``.
    """
    document = _parse(metadata)
    if base is not None:
        _edit_base(document, base)
    stack = document.get("stack", {})
    if patch_count is not None and stack.get("patch-count") not in (None, patch_count):
        stack["patch-count"] = patch_count
    if numbers is not None:
        _renumber_probes(document, numbers)
        _renumber_parents(document, numbers)
    return document.as_string().encode("utf-8")


def _parse(metadata: bytes) -> TOMLDocument:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(metadata)
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise StackError(f"stack.toml is not TOML: {error}") from None


def _edit_base(document: TOMLDocument, values: Mapping[str, str | None]) -> None:
    table: Any = document.get("base")
    if table is None:
        raise StackError("stack.toml: the table [base] is missing")
    for key, value in values.items():
        if value is None:
            table.pop(key, None)
        elif table.get(key) != value:
            table[key] = value


def _renumber_probes(document: TOMLDocument, numbers: Mapping[str, str | None]) -> None:
    probes: Any = document.get("probe", [])
    for index in reversed(range(len(probes))):
        old = probes[index].get("patch")
        new = numbers.get(old, old)
        if new is None:
            del probes[index]
        elif new != old:
            probes[index]["patch"] = new
    if "probe" in document and not probes:
        del document["probe"]


def _renumber_parents(document: TOMLDocument, numbers: Mapping[str, str | None]) -> None:
    parents: Any = document.get("parent", [])
    for parent in parents:
        patches = parent.get("patches", [])
        for index in reversed(range(len(patches))):
            old, _, source = patches[index].partition(" ")
            new = numbers.get(old, old)
            if new is None:
                del patches[index]
            elif new != old:
                patches[index] = f"{new} {source}"
