"""Everything that decides the bytes of a patched wheel, besides this program's version."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_patchkit.stack.folder import StackFiles
from vllm_patchkit.stack.model import Lock, Stack
from vllm_patchkit.wheel.contents import WheelContents
from vllm_patchkit.wheel.flavor import Flavor
from vllm_patchkit.wheel.provenance import Material


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """An input wheel, opened, with the facts that are recorded of it."""

    contents: WheelContents
    material: Material
    platform: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A stack, a flavor, and the opened wheels that it is made from."""

    files: StackFiles
    stack: Stack
    lock: Lock
    flavor: Flavor
    python_tag: str | None
    base: Part
    extension: Part | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The base and, if there is one, the extension."""
        return (self.base,) if self.extension is None else (self.base, self.extension)
