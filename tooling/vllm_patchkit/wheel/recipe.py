"""Everything that decides the bytes of a patched wheel, besides this program's version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

    def keeps(self, name: str) -> bool:
        """Return whether a member of the base that no patch touches is in the wheel.

        Beside an extension that is what its wheel has too, but for what is compiled.
        """
        if self.extension is None or name.startswith(f"{self.base.contents.data_folder}/"):
            return True
        shared = self.extension.contents.archive.find(name) is not None
        return shared and not self.flavor.takes(name)

    def explain_name(self) -> Iterator[str]:
        """Yield what two parts of the wheel's name mean, where they could be others."""
        others = [tag for tag in self.flavor.extensions if tag != self.python_tag]
        if others:
            yield (
                f"it installs in the Python of {self.python_tag} alone; for another: "
                f"--python-tag {' or '.join(others)}"
            )
        stack, lock = self.source.stack, self.source.lock
        digest = self.source.label.removeprefix(f"{stack.label}.{stack.version}")
        if digest:
            raised = "raise version in stack.toml, then " if stack.version in lock.released else ""
            yield (
                f"{digest} is in the version until a release is recorded: {raised}"
                f"vllm-patchkit lock {stack.name} --release"
            )

    def notes(self, touched: Iterable[str]) -> Iterator[str]:
        """Yield which of the touched files are others in the wheel that the extension is from."""
        if self.extension is None:
            return
        ours, theirs = self.base.contents, self.extension.contents
        for path in sorted(touched):
            other = theirs.rows.get(path)
            if ours.rows.get(path) != other:
                have = "has no" if other is None else "has another"
                yield (
                    f"note: {theirs.archive.path.name} {have} {path}; this wheel has that of "
                    f"{ours.archive.path.name}, patched"
                )
