"""What a rebase that stopped has to know to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.fork.base import BaseSpec
from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.fork.rebase.style import Style, find_style
from vllm_patchkit.fork.series import Series


@dataclass(frozen=True, kw_only=True, slots=True)
class StyleRequest:
    """Which formatter to merge with: the new release's own, unless the user names one."""

    command: str | None = None
    config: Path | None = None

    def find(self, spec: BaseSpec) -> Style:
        """Return the style.

        :raises HostError: its formatter is not installed.
        """
        return find_style(spec.distribution, spec.version, command=self.command, config=self.config)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a rebase that stopped has to know to go on.

    :param index: the patch that conflicts; the number of patches if none is left.
    :param commits: the old commits (formatted, where asked for), first the base.
    :param befores: what each of them was made on, as :class:`Series` has it.
    """

    onto: BaseSpec
    target: Path
    index: int = 0
    commits: tuple[str, ...]
    tip: str
    reports: tuple[PatchReport, ...] = ()
    style: StyleRequest | None = None
    befores: tuple[str, ...] = ()

    @property
    def series(self) -> Series:
        """The old commits."""
        return Series(base=self.commits[0], commits=self.commits[1:], befores=self.befores)

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON writes it."""
        style, onto = self.style, asdict(self.onto)
        return {
            "onto": {name: value and str(value) for name, value in onto.items() if name != "pin"},
            "target": str(self.target),
            "index": self.index,
            "commits": list(self.commits),
            "befores": list(self.befores),
            "tip": self.tip,
            "reports": [asdict(report) for report in self.reports],
            "normalise": style is not None,
            "formatter": style.command if style else None,
            "style_config": str(style.config) if style and style.config else None,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """Return the plan that :meth:`to_json` wrote."""
        onto, config = document["onto"], document["style_config"]
        style = StyleRequest(command=document["formatter"], config=config and Path(config))
        paths = {name: onto[name] and Path(onto[name]) for name in ("wheel", "checkout")}
        return cls(
            onto=BaseSpec(**{**onto, **paths}),
            target=Path(document["target"]),
            index=document["index"],
            commits=tuple(document["commits"]),
            befores=tuple(document.get("befores", ())),
            tip=document["tip"],
            reports=tuple(PatchReport.from_json(item) for item in document["reports"]),
            style=style if document["normalise"] else None,
        )
