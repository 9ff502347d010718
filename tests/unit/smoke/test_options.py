import pytest

from vllm_patchkit.errors import UsageError
from vllm_patchkit.smoke.options import SCENARIOS, SmokeOptions


def test_a_cpu_runs_every_scenario_but_the_one_for_bfloat16():
    options = SmokeOptions()
    assert set(SCENARIOS) - set(options.selected) == {"precision"}
    assert options.stages == ("artifact", "prepare", "offline", "streaming", "server")


def test_a_gpu_runs_them_all():
    assert SmokeOptions(device="cuda").selected == SCENARIOS


def test_a_scenario_brings_only_its_own_stage():
    options = SmokeOptions(scenarios=("server", "t2i"))
    assert options.selected == ("t2i", "server")
    assert options.stages == ("artifact", "prepare", "offline", "server")


def test_checks_only_needs_no_model():
    assert SmokeOptions(checks_only=True).stages == ("artifact",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scenarios": ("t3i",)}, "there is no scenario 't3i'"),
        ({"prompt": "a fox"}, "--prompt needs a real checkpoint"),
        ({"vision_tokenizer": "x"}, "--vision-tokenizer needs a real checkpoint"),
        ({"model": "/nonexistent"}, "/nonexistent is no checkpoint"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        SmokeOptions(**fields)


@pytest.mark.parametrize("name", ["sampled", "precision"])
def test_the_oracle_is_of_the_tiny_model(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=f"{name} compares with an oracle of the tiny model"):
        SmokeOptions(model=str(tmp_path), scenarios=(name,))
    for device in ("cpu", "cuda"):
        assert name not in SmokeOptions(model=str(tmp_path), device=device).selected


def test_the_worker_reads_every_field_of_the_job(tmp_path):
    """What the host sends and what the worker declares are the same names."""
    from vllm_patchkit.worker.job import Job

    job = Job.from_json(SmokeOptions(image_size=(2, 3)).to_job({"locks": {}}), tmp_path)
    assert job.image_size == (2, 3)
    assert job.stages[0] == "artifact"
    assert job.wants("mixed")
    assert not job.wants("precision")
