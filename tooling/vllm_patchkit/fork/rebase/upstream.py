"""What upstream made of each patch, release by release: a page for the next bump. Pure.

It is read off the reports of a survey: a patch is ``merged`` where nothing of it is left to do,
``partly`` merged where some of it is upstream, ``superseded`` where the files that it changes are
gone, and ``needed`` otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.fork.rebase.survey import Survey

Fate = Literal["needed", "merged", "partly", "superseded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchFate:
    """What became of one patch.

    :param fates: one for each release, oldest first.
    :param since: the first release from which on it has been as in the last one.
    :param places: conflicts in the last release.
    """

    patch: str
    subject: str
    fates: tuple[Fate, ...]
    since: str
    places: int

    @property
    def fate(self) -> Fate:
        """What it is in the last release."""
        return self.fates[-1]


def judge_patches(surveys: Sequence[Survey]) -> list[PatchFate]:
    """Return what became of each patch over the releases of the surveys, oldest first."""
    rows = zip(*(survey.reports for survey in surveys), strict=True)
    return [_judge_row(row, [survey.onto.version for survey in surveys]) for row in rows]


def _judge_row(row: Sequence[PatchReport], versions: Sequence[str]) -> PatchFate:
    fates = tuple(map(fate_of, row))
    first = len(fates) - 1
    while first and fates[first - 1] == fates[-1]:
        first -= 1
    return PatchFate(
        patch=row[0].patch,
        subject=row[0].subject,
        fates=fates,
        since=versions[first],
        places=len(row[-1].conflicts),
    )


def fate_of(report: PatchReport) -> Fate:
    """Return what became of a patch in one release."""
    verdicts = [item.verdict for item in report.hunks]
    if report.status == "upstream" or (verdicts and set(verdicts) == {"merged upstream"}):
        return "merged"
    if any(verdict in ("merged upstream", "partly merged") for verdict in verdicts):
        return "partly"
    gone = [item.kind == "deleted upstream" for item in report.conflicts]
    return "superseded" if gone and all(gone) else "needed"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the cells hold Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def format_fates(fates: Sequence[PatchFate], versions: Sequence[str]) -> str:
    """Return the page as Markdown: a row a patch, the sums below."""
    heads = ("patch", *versions, "so since", f"conflicts in {versions[-1]}")
    rows = (
        (f"{one.patch[:4]} {one.subject}", *one.fates, one.since, str(one.places or ""))
        for one in fates
    )
    last = [item.fate for item in fates]
    kinds: tuple[Fate, ...] = ("needed", "partly", "merged", "superseded")
    sums = ", ".join(f"{last.count(kind)} {kind}" for kind in kinds if kind in last)
    return "\n".join([*markdown_table(heads, rows), "", f"In {versions[-1]}: {sums}."])
