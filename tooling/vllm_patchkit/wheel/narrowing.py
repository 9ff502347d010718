"""Whether a stack's requirements only tighten what the base requires. Pure.

The rule: a distribution that the base requires may only get a narrower range; any other is a new
requirement. A clause of a range is narrower if it is one of the base's own, or shuts out a version
that the base allows. Versions lie densely, so ranges are compared at the places where a clause
can begin or end, and right before and after each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from vllm_patchkit.errors import StackError
from vllm_patchkit.wheel.metadata import normalize_name
from vllm_patchkit.wheel.requirements import listed_requirements

Ranges = dict[str, list[Requirement]]


def require_narrower(stack: str, requires: Sequence[str], metadata: bytes) -> None:
    """Do nothing if the requirements of a stack may be added to the base's.

    :raises StackError: with every one that may not.
    """
    faults = list(narrowing_faults(requires, metadata))
    if faults:
        raise StackError(
            f"stack.toml of {stack}: [wheel] requires: " + "\n".join(faults),
            hint="docs/stack-format.md says what may stand there",
        )


def narrowing_faults(requires: Sequence[str], metadata: bytes) -> Iterator[str]:
    """Yield what is wrong with each requirement of a stack, beside METADATA of the base."""
    base: Ranges = {}
    for text in listed_requirements(metadata):
        if (found := _parse(text)) is not None:
            base.setdefault(normalize_name(found.name), []).append(found)
    seen: set[tuple[str, str]] = set()
    for text in requires:
        fault = _fault(text, base)
        requirement = _parse(text)
        if requirement is not None:
            key = (normalize_name(requirement.name), str(requirement.marker))
            fault = "the distribution stands there twice" if key in seen else fault
            seen.add(key)
        if fault is not None:
            yield f"{text!r}: {fault}"


def _parse(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _fault(text: str, base: Ranges) -> str | None:
    requirement = _parse(text)
    if requirement is None:
        return "is no requirement as METADATA has them, such as transformers<5"
    if requirement.url is not None:
        return "names an address; an index decides where a distribution comes from"
    if requirement.marker is not None and "extra" in str(requirement.marker):
        return "belongs to an extra; extras are the base's"
    if any(clause.operator == "===" for clause in requirement.specifier):
        return "=== compares text; name a range of versions"
    known = base.get(normalize_name(requirement.name))
    if known is None:
        possible = any(_points(requirement.specifier, requirement.specifier))
        return None if possible else "no version satisfies it"
    faults = [_range_fault(requirement, one) for one in known]
    return None if None in faults else faults[0]


def _range_fault(requirement: Requirement, base: Requirement) -> str | None:
    """Return why a requirement is not narrower than the base's of the same distribution."""
    if extra := sorted(requirement.extras - base.extras):
        return f"asks for the extra {extra[0]}, which the base's {base} does not"
    if not any(_points(requirement.specifier & base.specifier, requirement.specifier)):
        return f"no version satisfies it and the base's {base}"
    own = {str(clause) for clause in base.specifier}
    new = [clause for clause in requirement.specifier if str(clause) not in own]
    if not new:
        return f"says no more than the base's {base}"
    for clause in new:
        allowed = _points(base.specifier, requirement.specifier)
        if all(clause.contains(version, prereleases=True) for version in allowed):
            return f"{clause} is not narrower than the base's {base}"
    return None


def _points(allowed: SpecifierSet, other: SpecifierSet) -> Iterator[Version]:
    """Yield versions that ``allowed`` has, around every version that either range names."""
    named = {clause.version.removesuffix(".*") for clause in [*allowed, *other]}
    for version in {Version("0"), Version("99999"), *map(Version, named)}:
        *head, last = version.release
        following = f"{version.epoch}!{'.'.join(map(str, (*head, last + 1)))}"
        around = ("{0}.dev0", "{0}a0", "{0}", "{0}.post1", "{0}.0.0.1", "{1}.dev0", "{1}")
        near = (form.format(version.base_version, following) for form in around)
        yield from (Version(text) for text in (str(version), *near) if _has(allowed, text))


def _has(allowed: SpecifierSet, version: str) -> bool:
    return allowed.contains(version, prereleases=True)
