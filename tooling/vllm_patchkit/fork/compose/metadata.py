"""The ``stack.toml`` of a composed stack. Pure: stacks in, text out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from packaging.requirements import InvalidRequirement, Requirement

from vllm_patchkit.stack.model import Metadata, Parent, Probe, Smoke, Stack


def make_title(name: str, label: str, parents: Sequence[Stack]) -> Metadata:
    """Return what a stack is called that is composed for the first time."""
    licenses = dict.fromkeys(stack.license for stack in parents if stack.license)
    joined = " AND ".join(f"({one})" if " " in one else one for one in licenses)
    return Metadata(
        name=name,
        label=label,
        version=1,
        summary="; ".join(stack.summary for stack in parents),
        license=joined if len(licenses) > 1 else next(iter(licenses), ""),
        subsystems=(),
        patch_count=None,
        base=parents[0].base,
        probes=(),
    )


def format_metadata(metadata: Metadata) -> bytes:
    """Return the text of ``stack.toml``."""
    base = metadata.base
    blocks = [
        "# Made by vllm-patchkit compose; name, label, version, summary and license may be edited.",
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
            aliases=list(base.aliases),
            **({"wheel": base.wheel, "sha256": base.sha256} if base.sha256 else {}),
        ),
        *([_table("[wheel]", requires=list(metadata.requires))] if metadata.requires else []),
        *map(_format_parent, metadata.parents),
        *([_format_smoke(metadata.smoke)] if metadata.smoke != Smoke() else []),
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


def _format_smoke(smoke: Smoke) -> str:
    return _table("[smoke]", package=smoke.package, architectures=list(smoke.architectures))


def merge_requires(requires: Iterable[str]) -> list[str]:
    """Return requirements with one line for each distribution and marker: both ranges hold.

    >>> merge_requires(["a<5", "b", "A>=2"])
    ['a<5,>=2', 'b']
    """
    merged: dict[tuple[str, str], Requirement | str] = {}
    for text in requires:
        try:
            found = Requirement(text)
        except InvalidRequirement:
            merged[text, ""] = text
            continue
        key = found.name.lower().replace("_", "-").replace(".", "-"), str(found.marker)
        known = merged.setdefault(key, found)
        if isinstance(known, Requirement) and known is not found:
            known.specifier &= found.specifier
            known.extras |= found.extras
    return [str(one) for one in merged.values()]


def carry_probes(probes: Iterable[Probe], numbers: dict[str, str]) -> Iterator[Probe]:
    """Yield the probes under the new numbers of their patches; of patches that are gone, none."""
    for probe in probes:
        if probe.patch in numbers:
            yield replace(probe, patch=numbers[probe.patch])
