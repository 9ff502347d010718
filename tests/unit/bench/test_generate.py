import pytest

from vllm_patchkit.bench.generate import BenchOptions, BenchReport, format_result
from vllm_patchkit.cli.bench import check_sides, check_stagger, parse_numbers
from vllm_patchkit.errors import UsageError

RESULT = {
    "event": "bench",
    "kind": "result",
    "images": 8,
    "sequences": 16,
    "guided_step_ms": 20.6,
    "plain_step_ms": 20.0,
    "ratio": 1.03,
    "ratios": [1.03],
    "guided_token_ms": 19.4,
    "plain_token_ms": 20.0,
    "token_ratio": 0.97,
    "image_tokens_per_s": 388.3,
    "seconds_an_image": 5.6,
    "peak_memory_bytes": 2**30,
}


def test_one_image_is_measured_once_whatever_the_arrivals():
    """It has nobody to be out of step with."""
    options = BenchOptions(images=(1, 8), staggers=(0, 7))
    assert options.scenarios == ((1, 0), (8, 0), (8, 7))


def test_a_run_of_one_side_is_complete_with_its_runs():
    report = BenchReport(options=BenchOptions(images=(1, 8), sides="guided"), location="env")
    for images in (1, 8):
        assert report.exit_code == 1
        report.add({"event": "bench", "kind": "runs", "engine": "emu", "images": images})
    assert report.exit_code == 0


@pytest.mark.parametrize("text", ["", "7,", "-1", "a"])
def test_a_list_of_arrivals_that_is_none(text):
    with pytest.raises(UsageError, match="no list of numbers of steps"):
        parse_numbers("--stagger", text, least=0, of="numbers of steps")


@pytest.mark.parametrize("option", [["--async-scheduling"], ["--sides", "guided"]])
def test_what_only_a_gpu_can_measure(option):
    from vllm_patchkit.cli import make_parser

    args = make_parser("bench").parse_args(["bench", "generate", *option])
    with pytest.raises(UsageError, match="needs --device cuda"):
        check_sides(args)
    args.device = "cuda"
    check_sides(args)


def test_profiling_keeps_the_engine_in_one_process():
    assert not BenchOptions(device="cuda").to_job()["bench"]["in_process"]
    assert BenchOptions(device="cuda", profile=True).to_job()["bench"]["in_process"]


def test_a_run_is_complete_with_a_result_for_each_count():
    report = BenchReport(options=BenchOptions(images=(8,)), location="env")
    assert report.exit_code == 1
    report.add(RESULT)
    assert report.exit_code == 0
    floor = {"floor_ms": 15.8}
    assert format_result(report.results[0], floor).split() == [
        *("8", "0", "16", "20.60", "20.00", "1.030", "0.970"),
        *("388.3", "5.60", "15.80", "1.00"),
    ]


def test_a_missing_gpu_is_the_machines_fault():
    report = BenchReport(options=BenchOptions(), location="env")
    fields = {"stage": "bench", "state": "failed", "seconds": 1, "message": "m", "hint": "h"}
    report.add({"event": "stage", **fields, "kind": "environment"})
    assert report.exit_code == 3


def test_another_artifact_is_not_measured():
    """A file that differs from the lock ends the run with its name."""
    report = BenchReport(options=BenchOptions(), location="env")
    check = {"event": "check", "stage": "artifact", "ok": False}
    report.add({**check, "name": "files match the lock", "detail": "differ: vllm/a.py"})
    report.add({"event": "stage", "stage": "bench", "state": "failed", "message": "status 4"})
    assert report.exit_code == 1
    assert report.problem["message"] == "files match the lock: differ: vllm/a.py"


@pytest.mark.parametrize("text", ["", "1,,2", "0", "a", "1.5"])
def test_counts_are_positive_numbers(text):
    with pytest.raises(UsageError, match="no list of numbers"):
        parse_numbers("--images", text, least=1)
    assert parse_numbers("--images", "1,8,32", least=1) == (1, 8, 32)


def test_a_run_with_a_broken_image_fails():
    report = BenchReport(options=BenchOptions(images=(8,)), location="env")
    report.add(RESULT)
    check = {"event": "check", "stage": "bench", "ok": False}
    report.add({**check, "name": "every image is a grid of 3*4", "detail": "image 1: not finished"})
    assert report.exit_code == 1
    assert report.problem["message"] == "every image is a grid of 3*4: image 1: not finished"


@pytest.mark.parametrize(("stagger", "fits"), [(0, True), (4, True), (5, False), (-1, False)])
def test_all_images_have_to_be_there_for_half_of_the_steps(stagger, fits):
    """Of 64 tokens 32 steps: 8 images can begin 4 apart."""
    if fits:
        check_stagger(stagger, 8, (8, 8))
    else:
        with pytest.raises(UsageError, match="hardly be there") as error:
            check_stagger(stagger, 8, (8, 8))
        assert "0 to 4" in error.value.hint
