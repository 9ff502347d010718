"""The same scenarios on a release without the patches, and what came out differently."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vllm_patchkit.smoke.report import Report

Json = dict[str, Any]
State = Literal["same", "different", "only here", "only there", "not compared"]
"""A scenario in which the release itself has a fault is not compared: what it gives is any."""
# Of a log probability, between two runs of the same code.
BOUND = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One scenario on both sides.

    :param reason: why it was not compared: the fault of the release itself.
    :param differences: for each request that differs the place of the token, and both tokens.
    :param logprob_difference: the largest difference of a log probability that both sides report.
    :param step_ms: the median time of an engine's step, here and there.
    :param refusals: request -> why it was refused, here and there.
    """

    scenario: str
    state: State
    reason: str | None = None
    differences: tuple[str, ...] = ()
    logprob_difference: float | None = None
    step_ms: tuple[float | None, float | None] = (None, None)
    refusals: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)

    @property
    def first(self) -> str | None:
        """The first difference, or why there is none to find."""
        return next(iter(self.differences), self.reason)

    def to_json(self) -> Json:
        """Return the row as JSON types."""
        refusals = [
            {"request": name, "here": here, "there": there}
            for name, (here, there) in self.refusals.items()
        ]
        return {**asdict(self), "refusals": refusals}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The rows, and whether the other side ran to its end."""

    base: Report
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether both sides ran, and said the same."""
        ran = self.base.plan is not None and not self.base.missing
        return ran and all(row.state in ("same", "not compared") for row in self.rows)

    def to_json(self) -> Json:
        """Return the comparison as JSON types."""
        return {
            "ok": self.ok,
            "subject": dict(self.base.subject),
            "versions": self.base.versions,
            "missing": self.base.missing,
            "problems": self.base.problems,
            "rows": [row.to_json() for row in self.rows],
        }


def compare(patched: Report, base: Report, *, own: Sequence[str]) -> Comparison:
    """Return what the two runs said, scenario by scenario.

    :param own: scenarios that only the artifact's stacks have.
    """
    here = {entry["name"]: entry for entry in patched.scenarios if entry["name"] not in own}
    there = {entry["name"]: entry for entry in base.scenarios}
    rows = [
        _compare_scenario(name, patched, base, here.get(name), there.get(name))
        for name in dict.fromkeys((*here, *there))
    ]
    return Comparison(base=base, rows=tuple(rows))


def _compare_scenario(
    name: str, patched: Report, base: Report, here: Json | None, there: Json | None
) -> Row:
    if here is None or there is None:
        return Row(scenario=name, state="only there" if here is None else "only here")
    if known := here.get("known_fault"):
        return Row(scenario=name, state="not compared", reason=known)
    mine, theirs = _answers(patched, name), _answers(base, name)
    refused = find_refusals(mine, theirs)
    found = [*describe_refusals(refused), *find_differences(mine, theirs, besides=refused)]
    found += find_outcome(here, there)
    difference = logprob_difference(mine, theirs)
    if difference is not None and difference > BOUND:
        found.append(f"log probabilities are off by {difference:.1e}, limit {BOUND:.0e}")
    return Row(
        scenario=name,
        state="different" if found else "same",
        differences=tuple(found),
        logprob_difference=difference,
        step_ms=(here.get("step_ms"), there.get("step_ms")),
        refusals=refused,
    )


def _answers(report: Report, scenario: str) -> dict[str, Json]:
    """Return the answers of a scenario by request; the same request asked again has a number."""
    found: dict[str, Json] = {}
    for answer in report.answers:
        if answer["scenario"] == scenario:
            name, number = answer["request"], 2
            while name in found:
                name, number = f"{answer['request']} ({number})", number + 1
            found[name] = answer
    return found


def find_refusals(
    here: Mapping[str, Json], there: Mapping[str, Json]
) -> dict[str, tuple[str | None, str | None]]:
    """Return the requests that either side refused, and why."""
    both = [request for request in here if request in there]
    found = {name: (here[name].get("refused"), there[name].get("refused")) for name in both}
    return {name: reasons for name, reasons in found.items() if reasons != (None, None)}


def describe_refusals(refused: Mapping[str, tuple[str | None, str | None]]) -> Iterator[str]:
    """Yield each request that one side alone refuses."""
    for request, (here, there) in refused.items():
        if there is None:
            yield f"{request}: refused here only: {here}"
        elif here is None:
            yield f"{request}: refused on the release only: {there}"


def find_differences(
    here: Mapping[str, Json], there: Mapping[str, Json], *, besides: Container[str] = ()
) -> Iterator[str]:
    """Yield each request whose tokens differ, and where they begin to.

    :param besides: requests that are not looked at.
    """
    for request in dict.fromkeys((*here, *there)):
        if request in besides:
            continue
        if request not in here or request not in there:
            yield f"{request}: answered on one side only"
            continue
        mine, theirs = here[request]["tokens"], there[request]["tokens"]
        if mine == theirs:
            continue
        pairs = enumerate(zip(mine, theirs, strict=False))
        place = next((n for n, pair in pairs if pair[0] != pair[1]), None)
        if place is None:
            yield f"{request}: {len(mine)} tokens, the release has {len(theirs)}"
        else:
            yield f"{request}: token {place} is {mine[place]}, the release's is {theirs[place]}"


def find_outcome(here: Json, there: Json) -> Iterator[str]:
    """Yield what a scenario found on one side only."""
    if here["problems"] and not there["problems"]:
        yield f"here only: {here['problems'][0]}"
    if there["problems"] and not here["problems"]:
        yield f"on the release only: {there['problems'][0]}"


def logprob_difference(here: Mapping[str, Json], there: Mapping[str, Json]) -> float | None:
    """Return the largest difference of a log probability of the same token; None without any."""
    found = [
        abs(one - other)
        for request in here.keys() & there.keys()
        if here[request]["logprobs"] and there[request]["logprobs"]
        for one, other in zip(here[request]["logprobs"], there[request]["logprobs"], strict=False)
    ]
    return max(found, default=None)
