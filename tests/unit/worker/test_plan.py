"""Which stages and scenarios a run consists of."""

import json

import pytest

from vllm_patchkit.worker import events
from vllm_patchkit.worker.contract import Proof, Stage
from vllm_patchkit.worker.job import Job
from vllm_patchkit.worker.plan import make_plan, read_plan, write_plan


def stage(name, *scenarios):
    return Stage(name=name, run=print, scenarios=scenarios)


PROOF = Proof(
    stages=(stage("make"), stage("offline", "one", "two"), stage("server", "served")),
    skipped=lambda job: frozenset() if job.device == "cuda" else frozenset({"two"}),
    impossible={"one": "is of the tiny model"},
    architectures=("Mine",),
)


def plan(tmp_path, **fields):
    job = Job(scratch=tmp_path, stages=("artifact",), **{"general": False, **fields})
    return make_plan(job, {"stack": PROOF})


def test_all_scenarios_run_but_those_that_are_asked_for_by_name(tmp_path):
    made = plan(tmp_path)
    assert made["scenarios"] == ["one", "served"]
    assert made["stages"] == ["make", "offline", "server"]
    assert made["required"] == ["make"]
    assert made["homes"] == dict.fromkeys(made["stages"], "stack")
    assert plan(tmp_path, device="cuda")["scenarios"] == ["one", "two", "served"]


def test_a_scenario_brings_only_its_own_stage_and_what_prepares_it(tmp_path):
    made = plan(tmp_path, scenarios=("two",))
    assert made["scenarios"] == ["two"]
    assert made["stages"] == ["make", "offline"]


def test_checks_only_needs_no_model(tmp_path):
    assert plan(tmp_path, checks_only=True)["stages"] == []


def test_an_unknown_scenario_is_refused_with_the_names_of_all(tmp_path):
    with pytest.raises(events.WrongOptions, match="no scenario 'three'") as error:
        plan(tmp_path, scenarios=("three",))
    assert "one, two, served" in error.value.hint


def test_a_real_checkpoint_is_for_the_stack_that_adds_its_architecture(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"architectures": ["Mine"]}))
    model = str(tmp_path)
    assert plan(tmp_path, model=model, device="cuda")["scenarios"] == ["two", "served"]
    with pytest.raises(events.WrongOptions, match="one is of the tiny model"):
        plan(tmp_path, model=model, scenarios=("one",))
    config.write_text(json.dumps({"architectures": ["Other"]}))
    assert plan(tmp_path, model=model)["stages"] == []


def test_the_stages_read_the_plan_with_the_job(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(events, "send", lambda event, **fields: sent.append((event, fields)))
    (tmp_path / "job.json").write_text(json.dumps({"stages": ["artifact"], "general": False}))
    job = Job.read(tmp_path)
    assert read_plan(tmp_path)["stages"] == []
    write_plan(job, make_plan(job, {"stack": PROOF}))
    planned = Job.read(tmp_path)
    assert planned.wants("one")
    assert not planned.wants("two")
    assert planned.homes["offline"] == "stack"
    fields = {
        "stages": ["artifact", "make", "offline", "server"],
        "scenarios": ["one", "served"],
        "own": ["one", "served"],
        "architectures": [],
    }
    assert sent == [("plan", fields)]


def test_the_general_scenarios_come_first_and_are_of_the_wanted_architectures(tmp_path):
    made = plan(tmp_path, general=True, architectures=("LlamaForCausalLM", "Qwen3ForCausalLM"))
    assert made["stages"][:3] == ["general", "llama", "qwen3"]
    assert made["scenarios"][0] == "llama/one"
    assert "llama/server" in made["scenarios"]
    assert "qwen3/server" not in made["scenarios"]
    assert made["owned"] == ["one", "served"]
    assert made["required"] == ["general", "make"]


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("qwen3/one", ["qwen3/one"]),
        ("batch", ["llama/batch", "qwen3/batch"]),
        # Of the stack, and of every model: the stack's is exactly that name.
        ("one", ["one"]),
    ],
)
def test_a_name_stands_for_one_scenario_or_for_that_of_each_model(tmp_path, asked, chosen):
    architectures = ("LlamaForCausalLM", "Qwen3ForCausalLM")
    made = plan(tmp_path, general=True, architectures=architectures, scenarios=(asked,))
    assert made["scenarios"] == chosen
