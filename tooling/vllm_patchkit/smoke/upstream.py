"""Upstream's own tests with the patches and without: what fails on one side only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vllm_patchkit.launch.subject import Event, Subject
from vllm_patchkit.smoke import run_smoke
from vllm_patchkit.smoke.options import SmokeOptions
from vllm_patchkit.smoke.report import Report

Json = dict[str, Any]
Observe = Callable[[Event, Report], None]
WELL = ("passed", "skipped", "xfailed", "ended")
WHOLE_FILE = ""
"""What stands for a test's id where the process of the file is meant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One test that ended differently; None is no such test on that side.

    :param test: its id; empty for the file itself.
    :param reason: a line of why, from the side where it ended badly.
    """

    file: str
    test: str
    here: str | None
    there: str | None
    reason: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.file, self.test

    @property
    def worse(self) -> bool:
        """Whether it ends badly with the patches only, or is gone."""
        bad_here, bad_there = (how not in WELL for how in (self.here, self.there))
        return bad_here and (not bad_there or self.there is None)

    def to_json(self) -> Json:
        """Return the difference as JSON types."""
        values = asdict(self)
        reason = values.pop("reason")
        return {**values, "worse": self.worse, "reason": reason}


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamComparison:
    """What both sides said of the same test files.

    :param unstable: what differed in one of two runs only.
    """

    here: Report
    base: Report
    differences: tuple[Difference, ...] = ()
    unstable: tuple[Difference, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether both sides ran tests, and none ends badly with the patches only."""
        passed = all(count_outcomes(side.tests)["passed"] for side in (self.here, self.base))
        sound = self.ran and passed and not self.base.problems
        return sound and not any(one.worse for one in self.differences)

    @property
    def ran(self) -> bool:
        """Whether both sides ran the same files, and any."""
        files = [[one["file"] for one in side.tests] for side in (self.here, self.base)]
        return bool(files[0]) and files[0] == files[1]

    def to_json(self) -> Json:
        """Return the comparison as JSON types."""
        tests = self.here.options.upstream
        assert tests is not None
        there = {one["file"]: one for one in self.base.tests}
        return {
            "ok": self.ok,
            "sdist": {"file": Path(tests.sdist).name, "sha256": tests.sha256},
            "supply": tests.supply,
            "here": dict(count_outcomes(self.here.tests)),
            "there": dict(count_outcomes(self.base.tests)),
            "files": [
                {
                    "file": one["file"],
                    "modules": one["modules"],
                    "here": summarize(one),
                    "there": summarize(there.get(one["file"])),
                }
                for one in self.here.tests
            ],
            "differences": [one.to_json() for one in self.differences],
            "unstable": [one.to_json() for one in self.unstable],
            "problems": self.base.problems,
        }


def count_outcomes(files: list[Json]) -> Counter[str]:
    """Return outcome -> number of tests."""
    return Counter(how for file in files for how, _ in file["outcomes"].values())


def summarize(file: Json | None) -> Json | None:
    """Return how a file ended, and how many of its tests ended how."""
    if file is None:
        return None
    counts = dict(sorted(count_outcomes([file]).items()))
    return {"state": file["state"], "reason": file["reason"], "seconds": file["seconds"], **counts}


def run_upstream(
    subject: Subject, base: Subject, options: SmokeOptions, observe: Observe
) -> Report:
    """Run the test files on both sides, what differs twice, and return the patched side's report.

    :raises HostError: a side's interpreter cannot be started.
    """
    report, there = _run_both(subject, base, options, observe)
    found = compare_tests(report, there)
    assert options.upstream is not None
    if found and not report.problems and not there.problems:
        files = tuple(dict.fromkeys(one.file for one in found))
        again = replace(options, upstream=replace(options.upstream, only=files))
        second = {one.key for one in compare_tests(*_run_both(subject, base, again, observe))}
    else:
        second = {one.key for one in found}
    report.upstream = UpstreamComparison(
        here=report,
        base=there,
        differences=tuple(one for one in found if one.key in second),
        unstable=tuple(one for one in found if one.key not in second),
    )
    return report


def _run_both(
    subject: Subject, base: Subject, options: SmokeOptions, observe: Observe
) -> tuple[Report, Report]:
    unpatched = replace(options, unpatched=True, digests={})
    here = run_smoke(subject, options, observe)
    if not here.tests:
        return here, Report(subject=base.describe(), options=unpatched)
    return here, run_smoke(base, unpatched, observe)


def compare_tests(here: Report, there: Report) -> list[Difference]:
    """Return what ended differently, file by file."""
    others = {one["file"]: one for one in there.tests}
    return [
        difference
        for one in here.tests
        if one["file"] in others
        for difference in _compare_file(one, others[one["file"]])
    ]


def _compare_file(here: Json, there: Json) -> Iterator[Difference]:
    """Yield what differs in a file; where a side did not come to its end, only what both ran."""
    whole = here["state"] == there["state"] == "ended"
    if here["state"] != there["state"]:
        states = ([side["state"], side["reason"]] for side in (here, there))
        yield _difference(here["file"], WHOLE_FILE, *states)
    for test in dict.fromkeys((*here["outcomes"], *there["outcomes"])):
        mine, theirs = here["outcomes"].get(test), there["outcomes"].get(test)
        if (mine and theirs) or whole:
            yield from _compare_test(here["file"], test, mine, theirs)


def _compare_test(
    file: str, test: str, mine: list[str] | None, theirs: list[str] | None
) -> Iterator[Difference]:
    outcomes = [None if side is None else side[0] for side in (mine, theirs)]
    appeared_well = theirs is None and outcomes[0] in WELL
    if outcomes[0] != outcomes[1] and not appeared_well:
        yield _difference(file, test, mine, theirs)


def _difference(
    file: str, test: str, here: list[str] | None, there: list[str] | None
) -> Difference:
    bad = next((side for side in (here, there) if side and side[0] not in WELL), None)
    return Difference(
        file=file,
        test=test,
        here=here[0] if here else None,
        there=there[0] if there else None,
        reason=bad[1] if bad else "",
    )
