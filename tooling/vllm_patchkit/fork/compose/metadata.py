"""What a composed stack says of itself. Pure: stacks in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.requirements import InvalidRequirement, Requirement

from vllm_patchkit.stack.model import Metadata, Patch, Probe, Stack
from vllm_patchkit.stack.propose import renew_probe
from vllm_patchkit.wheel.metadata import normalize_name


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
        base=parents[0].base,
    )


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
        key = normalize_name(found.name), str(found.marker)
        known = merged.setdefault(key, found)
        if isinstance(known, Requirement) and known is not found:
            known.specifier &= found.specifier
            known.extras |= found.extras
    return [str(one) for one in merged.values()]


def carry_probes(
    stack: Stack, numbers: Mapping[str, str], patches: Mapping[str, Patch]
) -> Iterator[Probe]:
    """Yield a parent's probes for the patches that became of its own; of those gone, none.

    :param numbers: of a patch in the parent -> in the composed stack.
    :param patches: of the composed stack, by number.
    """
    before = {f"{patch.number:04}": patch for patch in stack.patches}
    for probe in stack.probes:
        if probe.patch in numbers:
            after = patches[numbers[probe.patch]]
            yield renew_probe(probe, before[probe.patch], after, stack.base.root)
