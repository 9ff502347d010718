"""What two runs say of the same scenarios, compared."""

import pytest

from vllm_patchkit.smoke.against import compare
from vllm_patchkit.smoke.options import SmokeOptions
from vllm_patchkit.smoke.report import Report
from vllm_patchkit.smoke.table import render


def make(*answers, problems=(), name="qwen3/one", step_ms=2.0):
    report = Report(subject={"kind": "environment", "location": "e"}, options=SmokeOptions())
    report.add({"event": "plan", "stages": [], "scenarios": [name], "own": []})
    for request, tokens, logprobs in answers:
        fields = {"scenario": name, "request": request, "tokens": tokens, "logprobs": logprobs}
        report.add({"event": "answer", **fields})
    fields = {"requests": 1, "tokens": 3, "tokens_per_s": 1.0, "images": [], "oracle": True}
    scenario = {"name": name, "ok": not problems, "problems": list(problems), **fields}
    report.add({"event": "scenario", "step_ms": step_ms, **scenario})
    return report


GOOD = ("request-0", [1, 2, 3], [-0.5, -0.25, -0.125])


def test_two_runs_that_say_the_same_are_the_same():
    found = compare(make(GOOD), make(GOOD), own=())
    assert found.ok
    assert [(row.scenario, row.state, row.step_ms) for row in found.rows] == [
        ("qwen3/one", "same", (2.0, 2.0))
    ]


@pytest.mark.parametrize(
    ("there", "first"),
    [
        (("request-0", [1, 9, 3], None), "request-0: token 1 is 2, the release's is 9"),
        (("request-0", [1, 2], None), "request-0: 3 tokens, the release has 2"),
        (("request-1", [1, 2, 3], None), "request-0: answered on one side only"),
        (("request-0", [1, 2, 3], [-0.5, -0.26, -0.125]), "log probabilities are off by 1.0e-02"),
    ],
)
def test_the_first_difference_is_named(there, first):
    report = make(GOOD)
    report.against = compare(report, make(there), own=())
    assert not report.against.ok
    assert report.against.rows[0].first.startswith(first)
    assert first in render(report)
    assert not report.ok


def test_the_same_request_asked_twice_is_two():
    twice = (GOOD, ("request-0", [4], None))
    assert compare(make(*twice), make(*twice), own=()).ok
    assert not compare(make(*twice), make(GOOD, ("request-0", [5], None)), own=()).ok


def test_a_scenario_that_fails_on_one_side_only_is_different():
    (row,) = compare(make(GOOD, problems=["slow"]), make(GOOD), own=()).rows
    assert (row.state, row.first) == ("different", "here only: slow")
    assert compare(make(GOOD, problems=["a"]), make(GOOD, problems=["a"]), own=()).ok


def test_where_the_release_has_a_fault_nothing_is_compared():
    here, there = make(GOOD), make(("request-0", [9], None))
    here.scenarios[0]["known_fault"] = "the release answers wrongly"
    found = compare(here, there, own=())
    assert [row.state for row in found.rows] == ["not compared"]
    assert found.ok


def test_what_only_one_side_has_is_said():
    found = compare(make(GOOD), make(name="llama/one"), own=())
    assert {row.state for row in found.rows} == {"only here", "only there"}
    assert not found.ok


def test_a_stacks_own_scenarios_are_not_compared():
    assert compare(make(GOOD, name="t2i"), make(name="t2i"), own=("t2i",)).rows[0].state == (
        "only there"
    )
