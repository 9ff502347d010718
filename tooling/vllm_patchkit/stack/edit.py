"""``stack.toml`` written: a new one, or single values of one that somebody keeps by hand. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.model import Metadata, Parent, Probe, Smoke

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def format_metadata(metadata: Metadata, *comment: str) -> bytes:
    """Return the text of a new ``stack.toml``, below a comment."""
    base, smoke = metadata.base, metadata.smoke
    blocks = [
        *comment,
        "format = 1",
        _table(
            "[stack]",
            name=metadata.name,
            label=metadata.label,
            version=metadata.version,
            summary=metadata.summary,
            **({"license": metadata.license} if metadata.license else {}),
            subsystems=list(dict.fromkeys(metadata.subsystems)),
        ),
        _table(
            "[base]",
            distribution=base.distribution,
            version=base.version,
            root=base.root,
            **({"aliases": list(base.aliases)} if base.aliases else {}),
            **({"wheel": base.wheel, "sha256": base.sha256} if base.sha256 else {}),
        ),
        *([_table("[wheel]", requires=list(metadata.requires))] if metadata.requires else []),
        *map(_format_parent, metadata.parents),
        *([_table("[smoke]", package=smoke.package, architectures=list(smoke.architectures))]
          if smoke != Smoke() else []),
        *(_table("[[probe]]", patch=one.patch, imports=list(one.imports), expression=one.expression)
          for one in metadata.probes),
    ]  # fmt: skip
    return ("\n\n".join(blocks) + "\n").encode("utf-8")


def _table(head: str, **values: object) -> str:
    """Return a table of strings, integers and lists of strings: in these, TOML writes as JSON."""
    return "\n".join([head, *(f"{key} = {_value(value)}" for key, value in values.items())])


def _value(value: object) -> str:
    # JSON leaves DEL alone, which TOML wants escaped; escapes of JSON may be halves of a character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _format_parent(parent: Parent) -> str:
    rows = "".join(f'    "{number} {source}",\n' for number, source in parent.patches.items())
    table = _table(
        "[[parent]]",
        name=parent.name,
        path=parent.path,
        label=parent.label,
        digest=parent.digest,
    )
    return f"{table}\npatches = [\n{rows}]"


def edit_metadata(
    metadata: bytes,
    *,
    base: Mapping[str, str | None] | None = None,
    patch_count: int | None = None,
    numbers: Mapping[str, str | None] | None = None,
    renew: Callable[[Probe], Probe] = lambda probe: probe,
) -> bytes:
    """Return ``stack.toml`` with these values changed and every other byte as it was.

    :param base: new values in ``[base]``; None takes a key out.
    :param patch_count: the new count, written only where the file has one.
    :param numbers: old patch number -> new one, for the probes and a composed stack's parents;
        what is said of a patch that is gone (None) goes with it.
    :param renew: returns a probe as it is to be now; its number is changed besides.
    :raises StackError: it is not TOML, or lacks ``[base]``.
    """
    document = _parse(metadata)
    if base is not None:
        _edit_base(document, base)
    stack = document.get("stack", {})
    if patch_count is not None and stack.get("patch-count") not in (None, patch_count):
        stack["patch-count"] = patch_count
    if numbers is not None:
        _renumber_probes(document, numbers, renew)
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


def _renumber_probes(
    document: TOMLDocument,
    numbers: Mapping[str, str | None],
    renew: Callable[[Probe], Probe],
) -> None:
    probes: Any = document.get("probe", [])
    for index in reversed(range(len(probes))):
        table = probes[index]
        old = table.get("patch")
        known = Probe(
            patch=str(old),
            imports=tuple(map(str, table.get("imports", ()))),
            expression=str(table.get("expression", "")),
        )
        renewed = renew(known)
        if renewed.expression != known.expression:
            table["imports"], table["expression"] = list(renewed.imports), renewed.expression
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
