"""Flavors of the wheel: how the base is changed before it is patched, as ``inputs.toml`` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from vllm_patchkit.errors import UsageError
from vllm_patchkit.wheel.pins import read_tables

HOW = "docs/wheels.md, 'Another release', says how to pin one in wheels/inputs.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flavor:
    """One flavor, on one base.

    :param label: added to the local version label.
    :param take: patterns of members that come out of the extension wheel.
    :param extensions: Python tag -> name of the input that holds the extension, best first.
    """

    name: str
    label: str | None = None
    take: tuple[str, ...] = ()
    drop_requirements: tuple[str, ...] = ()
    add_requirements: tuple[str, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_table(cls, name: str, table: Mapping[str, Any]) -> Flavor:
        """Return the flavor that a table of ``inputs.toml`` describes."""
        return cls(
            name=name,
            label=table.get("label"),
            take=tuple(table.get("take", ())),
            drop_requirements=tuple(table.get("drop-requirements", ())),
            add_requirements=tuple(table.get("add-requirements", ())),
            extensions=dict(table.get("extensions", {})),
        )

    def takes(self, member: str) -> bool:
        """Return whether a member comes out of the extension wheel, not out of the base.

        >>> Flavor(name="cpu", take=("*.so",)).takes("vllm/_C.abi3.so")
        True
        """
        return any(fnmatchcase(member, pattern) for pattern in self.take)

    def choose_tag(self, python_tag: str | None) -> str | None:
        """Return the Python tag to build for: the first known, unless one is asked for.

        None for a flavor without extensions. The default must not depend on the Python at hand.

        :raises UsageError: there is no extension for that tag, or the flavor takes no tag.
        """
        if not self.extensions:
            if python_tag is not None:
                raise UsageError(
                    f"flavor {self.name} is one wheel for every Python: no --python-tag"
                )
            return None
        tag = next(iter(self.extensions)) if python_tag is None else python_tag
        if tag not in self.extensions:
            known = ", ".join(self.extensions)
            raise UsageError(f"flavor {self.name} has no build for {tag!r}", hint=f"known: {known}")
        return tag


def read_flavors() -> dict[str, dict[str, Any]]:
    """Return the table of every flavor by its name."""
    tables: dict[str, dict[str, Any]] = read_tables()["flavor"]
    return tables


def python_tags() -> list[str]:
    """Return every Python tag that some flavor has an extension for."""
    bases = (table.get("base", {}).values() for table in read_flavors().values())
    return list(dict.fromkeys(tag for found in bases for one in found for tag in one["extensions"]))


def find_flavor(name: str, base_version: str) -> Flavor:
    """Return a flavor for a stack's base.

    :raises UsageError: there is none of that name, or none for that base.
    """
    flavors = read_flavors()
    if name not in flavors:
        raise UsageError(f"there is no flavor {name!r}", hint=f"known: {', '.join(flavors)}")
    table = flavors[name]
    bases = table.get("base")
    if bases is not None and base_version not in bases:
        raise UsageError(
            f"no {name} build of vLLM {base_version} is pinned, and flavor {name} takes what is "
            f"compiled, and what that requires, from one; pinned are builds of {', '.join(bases)}",
            hint=HOW,
        )
    return Flavor.from_table(name, {**table, **(bases or {}).get(base_version, {})})
