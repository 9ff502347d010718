"""Which patch breaks on which release: a rebase that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.fork.base import BaseSpec, load_base
from vllm_patchkit.fork.edit import load_stack
from vllm_patchkit.fork.rebase.carry import Carrier
from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.fork.rebase.progress import StyleRequest
from vllm_patchkit.fork.rebase.style import restyle_series
from vllm_patchkit.fork.store.repository import open_store
from vllm_patchkit.host.terminal import Console


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """How every patch of a stack would fare on one release."""

    onto: BaseSpec
    reports: tuple[PatchReport, ...]

    @property
    def conflicts(self) -> int:
        """The number of places that would have to be resolved by hand."""
        return sum(len(report.conflicts) for report in self.reports)


def survey_rebase(
    folder: Path,
    targets: Sequence[BaseSpec],
    console: Console,
    *,
    style: StyleRequest | None = None,
) -> list[Survey]:
    """Return what a rebase onto each of the releases would meet; nothing is changed.

    A conflict is settled the patch's way and the survey goes on, so that each patch is judged
    for itself.
    """
    surveys = []
    with open_store() as store:
        opened = load_stack(store, folder, console)
        patches = opened.stack.patches
        for onto in targets:
            base = load_base(store, onto, console)
            found = style.find(onto) if style else None
            series = opened.series
            if found is not None:
                console.note(f"format with {found.name}")
                series = restyle_series(store, found, patches, series)
            carrier = Carrier(
                store=store,
                patches=patches,
                series=series,
                onto=base.commit,
                style=found,
                plain=opened.series,
                keep_going=True,
            )
            reports = []
            label = f"try {onto}"
            with console.progress(label, len(patches), unit="patches", scale=1) as bar:
                for step in carrier.carry(base.commit):
                    reports.append(step.report)
                    bar.advance(1)
            surveys.append(Survey(onto=onto, reports=tuple(reports)))
    return surveys
