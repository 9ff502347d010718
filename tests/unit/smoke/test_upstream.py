"""What is said of upstream's tests, from how they ended on both sides."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_patchkit.launch.subject import Subject
from vllm_patchkit.smoke import upstream
from vllm_patchkit.smoke.options import SmokeOptions, UpstreamTests
from vllm_patchkit.smoke.report import Report
from vllm_patchkit.smoke.table import render_tests
from vllm_patchkit.smoke.upstream import UpstreamComparison, compare_tests, run_upstream

TESTS = UpstreamTests(sdist="/x/vllm-1.tar.gz", sha256="ab" * 32, touched=("vllm.envs",))
OPTIONS = SmokeOptions(upstream=TESTS)
A, B = "tests/test_a.py", "tests/test_b.py"


def entry(file: str, outcomes: dict[str, str], state: str = "ended") -> dict[str, Any]:
    return {
        "file": file,
        "modules": ["vllm.envs"],
        "state": state,
        "reason": "",
        "seconds": 1.0,
        "outcomes": {test: [how, f"why {how}"] for test, how in outcomes.items()},
    }


def report(*files: dict[str, Any]) -> Report:
    return Report(subject={"location": "x"}, options=OPTIONS, tests=list(files))


@pytest.mark.parametrize(
    ("here", "there", "worse"),
    [
        ("failed", "passed", True),
        ("error", "passed", True),
        ("collection error", "passed", True),
        ("failed", "skipped", True),
        ("passed", "failed", False),
        ("skipped", "passed", False),
        ("failed", "error", False),
        (None, "passed", True),
        ("failed", None, True),
    ],
)
def test_only_what_ends_badly_here_alone_is_worse(here, there, worse):
    mine, theirs = ({} if how is None else {"t": how} for how in (here, there))
    (found,) = compare_tests(report(entry(A, mine)), report(entry(A, theirs)))
    assert (found.file, found.test, found.worse) == (A, "t", worse)
    assert (found.here, found.there) == (here, there)


@pytest.mark.parametrize(("here", "there"), [("failed", "failed"), ("passed", None)])
def test_the_same_failure_and_a_new_test_that_passes_are_no_difference(here, there):
    theirs = {} if there is None else {"t": there}
    assert not compare_tests(report(entry(A, {"t": here})), report(entry(A, theirs)))


def test_after_a_timeout_only_what_both_ran_is_compared():
    mine = entry(A, {"one": "passed", "two": "timeout"}, "timeout")
    theirs = entry(A, {"one": "passed", "two": "passed", "three": "passed"})
    found = compare_tests(report(mine), report(theirs))
    assert [(one.test, one.worse) for one in found] == [("", True), ("two", True)]
    both = compare_tests(report(mine), report(entry(A, {"one": "passed"}, "timeout")))
    assert both == []


def test_nothing_that_passed_is_no_proof():
    failed = report(entry(A, {"t": "failed"}))
    assert not UpstreamComparison(here=failed, base=failed).ok
    passed = report(entry(A, {"t": "passed"}))
    assert UpstreamComparison(here=passed, base=passed).ok
    assert not UpstreamComparison(here=passed, base=report()).ok


def sides(monkeypatch: pytest.MonkeyPatch, *reports: Report) -> list[SmokeOptions]:
    """Stand in for the two sides' runs, in order; record what each was asked."""
    todo, asked = list(reports), []

    def run_smoke(subject: object, options: SmokeOptions, observe: object) -> Report:
        asked.append(options)
        return todo.pop(0)

    monkeypatch.setattr(upstream, "run_smoke", run_smoke)
    return asked


def run() -> Report:
    base = Subject(kind="environment", location="b", argv=())
    return run_upstream(base, base, OPTIONS, lambda event, report: None)


def test_what_differs_is_run_again_and_counts_if_it_differs_again(monkeypatch):
    asked = sides(
        monkeypatch,
        report(entry(A, {"t": "failed", "u": "failed"}), entry(B, {"v": "passed"})),
        report(entry(A, {"t": "passed", "u": "passed"}), entry(B, {"v": "passed"})),
        report(entry(A, {"t": "failed", "u": "passed"})),
        report(entry(A, {"t": "passed", "u": "passed"})),
    )
    found = run().upstream
    assert [one.test for one in found.differences] == ["t"]
    assert [one.test for one in found.unstable] == ["u"]
    assert [options.unpatched for options in asked] == [False, True, False, True]
    assert asked[2].upstream.only == (A,)
    assert not found.ok
    text = "\n".join(render_tests(found))
    assert "only with the patches: t: failed, on the release passed" in text
    assert "unstable: u" in text
    assert found.to_json()["differences"][0]["worse"] is True


def test_where_nothing_differs_nothing_runs_twice(monkeypatch):
    same = report(entry(A, {"t": "passed", "u": "failed"}))
    asked = sides(monkeypatch, same, same)
    found = run().upstream
    assert found.ok
    assert len(asked) == 2
    assert "no test ended differently" in render_tests(found)


def test_where_the_artifact_is_wrong_nothing_is_compared(monkeypatch):
    asked = sides(monkeypatch, report())
    found = run().upstream
    assert not found.ok
    assert len(asked) == 1
    assert "no test ran on both sides" in render_tests(found)
