"""Flavors of the wheel: how the base is changed before it is patched, as ``inputs.toml`` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from vllm_patchkit.errors import UsageError
from vllm_patchkit.wheel.pins import read_tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Flavor:
    """One flavor.

    :param base_version: the only base that the flavor was made for; None for any.
    :param label: added to the local version label.
    :param omit: patterns of members that are left out of the base.
    :param take: members that come out of the extension wheel instead.
    :param extensions: Python tag -> name of the input that holds the extension, best first.
    """

    name: str
    base_version: str | None = None
    label: str | None = None
    omit: tuple[str, ...] = ()
    take: tuple[str, ...] = ()
    drop_requirements: tuple[str, ...] = ()
    add_requirements: tuple[str, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_table(cls, name: str, table: Mapping[str, Any]) -> Flavor:
        """Return the flavor that a table of ``inputs.toml`` describes."""
        return cls(
            name=name,
            base_version=table.get("base-version"),
            label=table.get("label"),
            omit=tuple(table.get("omit", ())),
            take=tuple(table.get("take", ())),
            drop_requirements=tuple(table.get("drop-requirements", ())),
            add_requirements=tuple(table.get("add-requirements", ())),
            extensions=dict(table.get("extensions", {})),
        )

    def omits(self, member: str) -> bool:
        """Return whether a member of the base is left out.

        >>> Flavor(name="cpu", omit=("*.so",)).omits("vllm/_C.abi3.so")
        True
        """
        return any(fnmatchcase(member, pattern) for pattern in self.omit)

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


def read_flavors() -> dict[str, Flavor]:
    """Return every flavor by its name."""
    tables = read_tables()["flavor"]
    return {name: Flavor.from_table(name, table) for name, table in tables.items()}


def find_flavor(name: str, base_version: str) -> Flavor:
    """Return a flavor for a stack's base.

    :raises UsageError: there is none of that name, or it was made for another base.
    """
    flavors = read_flavors()
    if name not in flavors:
        raise UsageError(f"there is no flavor {name!r}", hint=f"known: {', '.join(flavors)}")
    flavor = flavors[name]
    if flavor.base_version not in (None, base_version):
        raise UsageError(
            f"flavor {name} is made for {flavor.base_version}, the stack is on {base_version}",
            hint="say in wheels/inputs.toml what the flavor is on that base",
        )
    return flavor
