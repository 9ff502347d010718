"""What two runs say of the same scenarios, compared."""

import pytest

from vllm_patchkit.errors import UsageError
from vllm_patchkit.launch.subject import Subject
from vllm_patchkit.smoke import run_against
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


def refuse(*reasons):
    """Return a run whose requests were refused for these reasons; None is served."""
    report = make()
    for number, reason in enumerate(reasons):
        fields = {"scenario": "qwen3/one", "request": f"edge {number}", "logprobs": None}
        tokens = [1] if reason is None else []
        report.add({"event": "answer", **fields, "tokens": tokens, "refused": reason})
    return report


def test_a_refusal_of_one_side_only_is_named_with_its_words():
    here, there = refuse("ValueError: no", None, "a", None), refuse(None, "B: no", "b", None)
    (row,) = compare(here, there, own=()).rows
    assert row.state == "different"
    assert row.differences == (
        "edge 0: refused here only: ValueError: no",
        "edge 1: refused on the release only: B: no",
    )
    assert row.to_json()["refusals"] == [
        {"request": "edge 0", "here": "ValueError: no", "there": None},
        {"request": "edge 1", "here": None, "there": "B: no"},
        {"request": "edge 2", "here": "a", "there": "b"},
    ]


def test_other_words_for_the_same_refusal_are_no_difference():
    assert compare(refuse("a"), refuse("b"), own=()).ok


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
    (row,) = found.rows
    assert (row.state, row.first) == ("not compared", "the release answers wrongly")
    assert row.to_json()["reason"] == row.first
    assert found.ok


def test_what_only_one_side_has_is_said():
    found = compare(make(GOOD), make(name="llama/one"), own=())
    assert {row.state for row in found.rows} == {"only here", "only there"}
    assert not found.ok


def test_a_stacks_own_scenarios_are_not_compared():
    assert compare(make(GOOD, name="t2i"), make(name="t2i"), own=("t2i",)).rows[0].state == (
        "only there"
    )


def test_with_scenarios_of_the_stack_s_own_alone_there_is_nothing_to_compare():
    report = make(name="t2i")
    report.plan["own"] = ["t2i"]
    with pytest.raises(UsageError, match="--against has nothing to compare"):
        run_against(report, Subject(kind="environment", location="e", argv=()), print)
