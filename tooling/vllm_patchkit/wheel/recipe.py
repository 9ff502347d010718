"""Everything that decides the bytes of a patched wheel, besides this program's version."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_patchkit.stack.locked import LockedStack
from vllm_patchkit.wheel.contents import WheelContents
from vllm_patchkit.wheel.flavor import Flavor
from vllm_patchkit.wheel.provenance import Material


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be built: a stack with its lock, and a flavor."""

    source: LockedStack
    flavor: Flavor
    python_tag: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """An input wheel, opened, with the facts that are recorded of it."""

    contents: WheelContents
    material: Material
    platform: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe(Order):
    """An order, and the opened wheels that it is made from."""

    base: Part
    extension: Part | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The base and, if there is one, the extension."""
        return (self.base,) if self.extension is None else (self.base, self.extension)
