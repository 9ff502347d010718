import base64
import json

import pytest

from vllm_patchkit.host.terminal import Console
from vllm_patchkit.smoke.options import SmokeOptions
from vllm_patchkit.smoke.report import Report
from vllm_patchkit.smoke.table import describe_event, render

SCENARIO = {
    "event": "scenario",
    "name": "t2i",
    "ok": True,
    "problems": [],
    "requests": 1,
    "tokens": 33,
    "seconds": 0.5,
    "tokens_per_s": 66.0,
    "images": [{"height": 4, "width": 6}],
    "oracle": True,
}


def stage(name, state="ended", **fields):
    return [
        {"event": "stage", "stage": name, "state": "started"},
        {"event": "stage", "stage": name, "state": state, "seconds": 1.0, **fields},
    ]


def make_report(*events, scenarios=("t2i",)):
    options = SmokeOptions(scenarios=scenarios)
    report = Report(subject={"kind": "environment", "location": "env"}, options=options)
    for event in events:
        report.add(event)
    return report


PLAN = {
    "event": "plan",
    "stages": ["artifact", "prepare", "offline"],
    "scenarios": ["t2i"],
}
GOOD = [PLAN, *stage("artifact"), *stage("prepare"), *stage("offline"), SCENARIO]


def test_all_that_was_asked_for_holds():
    report = make_report(*GOOD)
    assert report.ok
    assert report.exit_code == 0


@pytest.mark.parametrize("left_out", range(len(GOOD)))
def test_nothing_may_be_missing(left_out):
    """A stage that never ended or a scenario that never reported is not a pass."""
    events = [event for place, event in enumerate(GOOD) if place != left_out]
    report = make_report(*events)
    if GOOD[left_out].get("state") == "started":
        # An end without a beginning still is an end.
        assert report.ok
    else:
        assert not report.ok
        assert report.exit_code == 1


def test_a_failed_check_fails():
    check = {"event": "check", "stage": "artifact", "name": "x", "ok": False, "detail": "y"}
    report = make_report(*GOOD, check)
    assert report.exit_code == 1
    assert "FAILED x: y" in render(report)


def test_a_machine_that_cannot_is_no_failure_of_the_artifact():
    """Exit code 3, and the reason in the summary."""
    problem = {"event": "problem", "stage": "artifact", "message": "port 80 is in use", "hint": "h"}
    failed = stage("artifact", "failed", kind="failed", message="ended with status 3", hint="")
    report = make_report(failed[0], problem, failed[1])
    assert report.exit_code == 3
    assert "artifact: port 80 is in use\n  hint: h" in render(report)
    assert "status 3" not in render(report)


def test_a_scenario_that_does_not_exist_is_the_callers_mistake():
    problem = {
        "event": "problem",
        "stage": "artifact",
        "kind": "usage",
        "message": "m",
        "hint": "h",
    }
    report = make_report(*stage("artifact", "failed", kind="failed"), problem)
    assert report.exit_code == 2
    assert "not run: t2i" in render(report)


def test_a_crash_is_a_failure_with_its_log():
    fields = {"kind": "failed", "message": "ValueError: x", "hint": "", "log": "lines"}
    report = make_report(*GOOD[:5], *stage("offline", "failed", **fields))
    assert report.exit_code == 1
    assert report.problems[0]["log"] == "lines"
    assert "not run: t2i" in render(report)


def test_the_table_shows_what_was_generated():
    text = render(make_report(*GOOD))
    assert "t2i       ok         1      33      66.0  4*6     equal" in text
    assert text.endswith("PASSED: 0 of 0 checks, 1 of 1 scenarios, 0 s")


def test_a_scenario_that_was_not_timed_has_no_rate():
    untimed = {**SCENARIO, "tokens_per_s": None}
    text = render(make_report(*GOOD[:-1], untimed))
    assert "t2i       ok         1      33         -  4*6     equal" in text
    assert describe_event(untimed, Console()).endswith("ok scenario t2i (33 tokens)")


def test_files_are_written(tmp_path):
    data = base64.b64encode(b"png").decode()
    picture = {"event": "picture", "name": "t2i-1", "height": 4, "width": 6, "png": data}
    sequence = {"event": "sequence", "name": "t2i", "json": {"a": 1}, "protobuf": data}
    report = make_report(*GOOD, picture, sequence)
    names = sorted(path.name for path in report.write(tmp_path / "out"))
    assert names == [
        "pictures.svg", "smoke.json", "t2i-1.png", "t2i.sequence.json", "t2i.sequence.pb",
    ]  # fmt: skip
    assert (tmp_path / "out" / "t2i-1.png").read_bytes() == b"png"
    document = json.loads((tmp_path / "out" / "smoke.json").read_text())
    assert document["format"] == 1
    assert document["pictures"] == [{"name": "t2i-1", "height": 4, "width": 6}]
