"""The stack's bench: shapes, workload and what counts as an image."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from patchkit_own_emu3_5 import guidance
from patchkit_own_emu3_5.shapes import full_shape, small_shape
from patchkit_worker.job import Job
from patchkit_worker.steps import Measured

from vllm_patchkit.bench.generate import BenchOptions


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
    job = Job.from_json(BenchOptions(images=(1, 2), device="cpu").to_job(), tmp_path)
    plan = guidance.Plan.from_job(job)
    assert plan.images == (1, 2)
    assert plan.in_process


def test_plain_requests_can_stand_beside_the_images(monkeypatch, tmp_path):
    """The peer has two sequences for each image, and as many beside them."""
    monkeypatch.setattr(guidance, "guided_requests", lambda *_, **__: ["image"])
    monkeypatch.setattr(guidance, "plain_requests", lambda _, number, *__, **___: ["text"] * number)
    options = BenchOptions(images=(1,), beside=3, top_p=0.9, plain_top_k=0)
    plan = guidance.Plan.from_job(Job.from_json(options.to_job(), tmp_path))
    assert (plan.top_k, plan.plain_top_k, plan.top_p) == (160, 0, 0.9)
    shape = small_shape("float32")
    assert guidance._requests(plan, shape, "emu", 1, 0) == ["image", *["text"] * 3]
    assert guidance._requests(plan, shape, "plain", 1, 0) == ["text"] * 5


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
    vocabulary = small_shape("float32").vocabulary
    tokens = make_image(vocabulary, 3, 4)
    found = guidance.image_problems([tokens, change(tokens)], (3, 4), vocabulary)
    if problem is None:
        assert not found
    else:
        assert re.search(rf"image 1: .*{problem}", "".join(found))


def test_an_image_of_another_size_is_a_problem():
    vocabulary = small_shape("float32").vocabulary
    found = guidance.image_problems([make_image(vocabulary, 4, 3)], (3, 4), vocabulary)
    assert found == ["image 0: sizes [(4, 3)], expected one of (3, 4)"]


def test_memory_on_a_gpu_is_that_of_the_guided_engine_while_it_is_there(monkeypatch):
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
        "free_memory": lambda: None,
    }.items():
        monkeypatch.setattr(guidance, name, replacement)
    monkeypatch.setattr(guidance.events, "send", lambda event, **fields: sent.append(fields))
    job = Job.from_json({**BenchOptions(images=(1, 8), device="cuda").to_job()}, Path("scratch"))
    guidance._one_after_the_other(job, guidance.Plan.from_job(job), small_shape("float32"))
    results = [fields for fields in sent if fields["kind"] == "result"]
    assert [(result["images"], result["peak_memory_bytes"]) for result in results] == [
        (1, 70),
        (8, 70),
    ]
