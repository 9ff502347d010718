import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vllm_patchkit.bench.generate import BenchOptions, BenchReport, format_result
from vllm_patchkit.cli.bench import check_stagger, parse_counts
from vllm_patchkit.errors import UsageError
from vllm_patchkit.worker.job import Job
from vllm_patchkit.worker.profile import find_gaps
from vllm_patchkit.worker.shapes import full_shape, small_shape

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


def test_the_full_shape_has_the_published_number_of_weights():
    """31.2 B in the layers; 2.9 B in the embeddings, half of which a step reads."""
    shape = full_shape()
    assert shape.layer_parameters() == pytest.approx(31.2e9, rel=2e-3)
    head = 5120 * 282926
    assert shape.bytes_read(None, 1) == 2 * (shape.layer_parameters() + head)
    assert shape.bytes_read("fp8", 1) == shape.layer_parameters() + 2 * head
    assert shape.bytes_read(None, 2) == shape.bytes_read(None, 1) // 2


def test_the_small_shape_keeps_the_order_of_the_tokens():
    shape = small_shape("float32")
    vocabulary = shape.vocabulary
    assert vocabulary.visual.stop == shape.dimensions["vocab_size"]
    special = vocabulary.special
    assert special["eoi"] + 1 == vocabulary.visual_offset
    assert special["img"] < special["boi"] < special["eoi"]
    # The digits and the text of the workload lie below the special tokens.
    assert max(vocabulary.size_ids.values()) < 100
    assert min(value for name, value in special.items() if name != "tms") > 4000


def test_the_worker_reads_the_job(tmp_path):
    from vllm_patchkit.worker.bench import Plan

    job = Job.from_json(BenchOptions(images=(1, 2), device="cpu").to_job(), tmp_path)
    plan = Plan.from_job(job)
    assert plan.images == (1, 2)
    assert plan.in_process


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
        *("8", "16", "20.60", "20.00", "1.030", "0.970"),
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


def test_gaps_lie_between_spans_and_overlaps_count_once():
    spans = [(0.0, 4.0, "a"), (1.0, 2.0, "b"), (3.0, 6.0, "c"), (10.0, 11.0, "d")]
    assert find_gaps(spans) == (7.0, [(4.0, "c", "d")])


@pytest.mark.parametrize("text", ["", "1,,2", "0", "a", "1.5"])
def test_counts_are_positive_numbers(text):
    with pytest.raises(UsageError, match="no list of numbers"):
        parse_counts(text)
    assert parse_counts("1,8,32") == (1, 8, 32)


def make_image(vocabulary, height, width):
    """Return the answer that finishes an image which the prompt began."""
    special, digits = vocabulary.special, vocabulary.size_ids
    rows = [[vocabulary.visual[0]] * width for _ in range(height)]
    pixels = rows[0]
    for row in rows[1:]:
        pixels = [*pixels, special["eol"], *row]
    return [
        *(digits[char] for char in f"{height}*{width}"),
        special["img"],
        *pixels,
        special["eoi"],
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tokens: tokens, None),
        (lambda tokens: tokens[:-1], "is not finished"),
        (lambda tokens: tokens[:5] + tokens[6:], r"3 rows of \[3, 4\]"),
        (lambda tokens: [], "is not finished"),
        (lambda tokens: [*tokens, 7, 7], None),
    ],
)
def test_each_guided_answer_is_one_image(change, problem):
    from vllm_patchkit.worker.bench import image_problems

    vocabulary = small_shape("float32").vocabulary
    tokens = make_image(vocabulary, 3, 4)
    found = image_problems([tokens, change(tokens)], (3, 4), vocabulary)
    if problem is None:
        assert not found
    else:
        assert re.search(rf"image 1: .*{problem}", "".join(found))


def test_an_image_of_another_size_is_a_problem():
    from vllm_patchkit.worker.bench import image_problems

    vocabulary = small_shape("float32").vocabulary
    found = image_problems([make_image(vocabulary, 4, 3)], (3, 4), vocabulary)
    assert found == ["image 0: sizes [(4, 3)], expected one of (3, 4)"]


def test_a_run_with_a_broken_image_fails():
    report = BenchReport(options=BenchOptions(images=(8,)), location="env")
    report.add(RESULT)
    check = {"event": "check", "stage": "bench", "ok": False}
    report.add({**check, "name": "every image is a grid of 3*4", "detail": "image 1: not finished"})
    assert report.exit_code == 1
    assert report.problem["message"] == "every image is a grid of 3*4: image 1: not finished"


def test_memory_on_a_gpu_is_that_of_the_guided_engine_while_it_is_there(monkeypatch):
    from vllm_patchkit.worker import bench
    from vllm_patchkit.worker.workload import Measured

    in_use = []
    sizes = {"emu": 70, "plain": 60}

    def load(job, plan, shape, kind):
        in_use.append(sizes[kind])
        core = SimpleNamespace(shutdown=in_use.clear)
        return SimpleNamespace(llm_engine=SimpleNamespace(engine_core=core))

    sent = []
    run = Measured(step_ms=2.0, tokens_per_s=500.0, seconds=1.0, steps=9, answers=((1,),))
    for name, replacement in {
        "load": load,
        "measure": lambda *runs: (run,) * len(runs),
        "peak_memory": lambda device: sum(in_use),
        "_begin": lambda *arguments: None,
        "_warm_up": lambda *arguments: None,
        "_check_images": lambda *arguments: None,
        "_free_memory": lambda: None,
    }.items():
        monkeypatch.setattr(bench, name, replacement)
    monkeypatch.setattr(bench.events, "send", lambda event, **fields: sent.append(fields))
    job = Job.from_json({**BenchOptions(images=(1, 8), device="cuda").to_job()}, Path("scratch"))
    bench._one_after_the_other(job, bench.Plan.from_job(job), small_shape("float32"))
    results = [fields for fields in sent if fields["kind"] == "result"]
    assert [(result["images"], result["peak_memory_bytes"]) for result in results] == [
        (1, 70),
        (8, 70),
    ]


def test_images_arrive_so_many_steps_apart(monkeypatch):
    from vllm_patchkit.worker import workload

    kinds = SimpleNamespace(RequestOutputKind=SimpleNamespace(DELTA="delta"))
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", kinds)
    left = {}

    def step():
        outputs = []
        for name in list(left):
            left[name] -= 1
            answer = SimpleNamespace(token_ids=[1])
            outputs.append(SimpleNamespace(request_id=name, outputs=[answer]))
            if not left[name]:
                del left[name]
        return outputs

    engine = SimpleNamespace(
        add_request=lambda name, prompt, params: left.update({name: 20}),
        has_unfinished_requests=lambda: bool(left),
        step=step,
    )
    request = workload.Request({}, SimpleNamespace(clone=SimpleNamespace))
    run = workload.Run(SimpleNamespace(llm_engine=engine), [request] * 6, stagger=4, together=2)
    while run.step():
        pass
    assert run.steps.rows == [2] * 4 + [4] * 4 + [6] * 12 + [4] * 4 + [2] * 4
    assert [len(answer) for answer in run.answers.values()] == [20] * 6


@pytest.mark.parametrize(("stagger", "fits"), [(0, True), (4, True), (5, False), (-1, False)])
def test_all_images_have_to_be_there_for_half_of_the_steps(stagger, fits):
    """Of 64 tokens 32 steps: 8 images can begin 4 apart."""
    if fits:
        check_stagger(stagger, 8, (8, 8))
    else:
        with pytest.raises(UsageError, match="hardly be there") as error:
            check_stagger(stagger, 8, (8, 8))
        assert "0 to 4" in error.value.hint
