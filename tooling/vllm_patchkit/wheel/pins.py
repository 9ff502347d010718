"""Upstream wheels by name, as ``inputs.toml`` or a stack pins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.errors import UsageError, WheelError
from vllm_patchkit.host.shipped import shipped_folders
from vllm_patchkit.stack.model import Base
from vllm_patchkit.stack.toml import parse_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelInput:
    """One pinned upstream wheel, or sdist.

    :param size_bytes: 0 where it is not known.
    :param platform: the platform tag that its contents deserve, where the file name's is wrong.
    """

    name: str
    distribution: str
    version: str
    file: str
    size_bytes: int
    sha256: str
    platform: str | None = None

    @classmethod
    def of_base(cls, base: Base) -> WheelInput | None:
        """Return the wheel that a stack says it was cut from, None where it names none."""
        if not (base.wheel and base.sha256):
            return None
        return cls(
            name=f"{base.distribution}-{base.version}",
            distribution=base.distribution,
            version=base.version,
            file=base.wheel,
            size_bytes=0,
            sha256=base.sha256,
        )

    @classmethod
    def from_table(cls, name: str, table: Mapping[str, Any]) -> WheelInput:
        """Return the input that a table of ``inputs.toml`` describes."""
        try:
            return cls(
                name=name,
                distribution=str(table["distribution"]),
                version=str(table["version"]),
                file=str(table["file"]),
                size_bytes=int(table["size"]),
                sha256=str(table["sha256"]),
                platform=table.get("platform"),
            )
        except (KeyError, ValueError) as error:
            raise WheelError(f"inputs.toml: input {name!r}: bad or missing {error}") from None


def inputs_file() -> Path:
    """Return where the pins are: in the installed package, or in the checkout around it."""
    packed, checkout = (folder / "inputs.toml" for folder in shipped_folders("wheels"))
    return packed if packed.is_file() else checkout


def read_tables() -> dict[str, Any]:
    """Return what ``inputs.toml`` holds."""
    path = inputs_file()
    return parse_toml(path.read_bytes(), str(path))


def read_inputs() -> dict[str, WheelInput]:
    """Return every pinned wheel by its name."""
    tables = read_tables()["input"]
    return {name: WheelInput.from_table(name, table) for name, table in tables.items()}


def find_input(name: str) -> WheelInput:
    """Return the pinned wheel of that name, such as ``vllm-0.11.0``."""
    inputs = read_inputs()
    if name not in inputs:
        raise UsageError(f"no input is called {name!r}", hint=f"pinned are: {', '.join(inputs)}")
    return inputs[name]


def find_pin(base: Base) -> WheelInput:
    """Return the wheel that a stack was cut from, as it or ``inputs.toml`` pins it.

    :raises UsageError: it is not pinned.
    """
    own = WheelInput.of_base(base)
    for entry in read_inputs().values():
        same = (entry.distribution, entry.version) == (base.distribution, base.version)
        if same and (own is None or own.sha256 == entry.sha256):
            return entry
    if own is not None:
        return own
    raise UsageError(
        f"no wheel of {base.distribution} {base.version} is pinned",
        hint="name one with --base, or pin it in stack.toml: [base] wheel and sha256",
    )
