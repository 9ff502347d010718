"""Versions and requirements of installed distributions, as far as they are ones. Pure."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from vllm_patchkit.doctor.model import Facts


def named(facts: Facts, *names: str) -> list[Facts]:
    """Return the distributions of these (normalised) names, in the order Python finds them."""
    return [dist for dist in facts["distributions"] if dist["name"] in names]


def first_version(facts: Facts, name: str) -> Version | None:
    """Return the version that ``importlib.metadata`` would answer, or None."""
    return next((parse_version(dist) for dist in named(facts, name)), None)


def parse_version(dist: Facts) -> Version | None:
    """Return a distribution's version, or None where it has none that is one."""
    return Version(dist["version"]) if is_version(dist["version"]) else None


def is_version(text: str) -> bool:
    """Return whether a text is a version by PEP 440."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def parse_requirement(text: str) -> Requirement | None:
    """Return a line of METADATA, or None where it is none."""
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None
