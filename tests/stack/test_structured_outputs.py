"""Structured outputs that cannot be compiled end their request alone; those that can guide text
beside guided images.
"""

from __future__ import annotations

import re

import pytest
from engine import params_of, prompt_of
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from workload import text_to_image


@pytest.fixture(scope="module", params=[False, True], ids=["", "async"])
def engine(request, start_engine, checkpoint):
    return start_engine(checkpoint, max_num_seqs=8, async_scheduling=request.param)


def constrained(**constraint):
    return SamplingParams(
        temperature=0.0, max_tokens=6, structured_outputs=StructuredOutputsParams(**constraint)
    )


def run(engine, image, *constraints):
    """The last output of each constrained request, which run beside an image."""
    llm_engine = engine.llm.llm_engine
    request, expected = image
    llm_engine.add_request("image", prompt_of(request), params_of(request))
    for number, constraint in enumerate(constraints):
        prompt = {"prompt_token_ids": request.prompt[:5]}
        llm_engine.add_request(f"{number}", prompt, constrained(**constraint))
    found = {}
    while llm_engine.has_unfinished_requests():
        for output in llm_engine.step():
            if output.finished:
                found[output.request_id] = output.outputs[0]
    assert list(found.pop("image").token_ids) == expected
    assert engine.free_blocks() == engine.total_blocks()
    return [found[f"{number}"] for number in range(len(constraints))]


@pytest.fixture(scope="module")
def image(oracle):
    request = text_to_image(oracle.vocabulary, 2, "3*3")
    return request, oracle.generate(request)


# What the frontend's second backend compiles, and the engine's, which the first request chose,
# does not.
OTHER_BACKEND = ({"regex": "(?i)t24"}, {"regex": r"\p{L}+"})


def test_what_the_engine_cannot_compile_ends_alone(engine, image):
    good, *bad = run(engine, image, {"regex": "[a-z0-9]+"}, *OTHER_BACKEND)
    assert good.finish_reason in ("stop", "length")
    for output in bad:
        assert output.finish_reason == "abort"
        assert "structured output cannot be compiled" in output.stop_reason
        assert not output.token_ids
    (again,) = run(engine, image, {"regex": "[a-z0-9]+"})
    assert again.token_ids == good.token_ids


def test_a_backend_that_cannot_start_ends_its_request_alone(engine, image, monkeypatch):
    def fail(request):
        raise RuntimeError("unsupported tokenizer")

    monkeypatch.setattr(engine.core.structured_output_manager, "grammar_init", fail)
    (output,) = run(engine, image, {"regex": "[a-z0-9]+"})
    assert output.finish_reason == "abort"
    assert "unsupported tokenizer" in output.stop_reason


def test_an_aborted_request_is_not_waited_for(engine, image):
    """Before its grammar is ready."""
    llm_engine = engine.llm.llm_engine
    prompt = {"prompt_token_ids": image[0].prompt[:5]}
    llm_engine.add_request("gone", prompt, constrained(regex="(?i)t24"))
    llm_engine.abort_request(["gone"])
    (output,) = run(engine, image, {"regex": "[a-z0-9]+"})
    assert output.finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    "constraint",
    [
        {},
        {"json_object": False},
        {"whitespace_pattern": " "},
        {"json": ""},
        {"grammar": ""},
        {"structural_tag": ""},
        {"structural_tag": "{}"},
        {"structural_tag": "5"},
        {"regex": "("},
        {"json": {"type": "nope"}},
    ],
    ids=str,
)
def test_what_no_backend_compiles_is_refused(engine, image, constraint):
    with pytest.raises(ValueError):  # noqa: PT011 - some messages are those of the backends
        engine.llm.generate(
            {"prompt_token_ids": image[0].prompt[:5]}, constrained(**constraint), use_tqdm=False
        )
    run(engine, image)


def test_text_beside_an_image_follows_its_grammar(engine, image, checkpoint):
    words = {token: word for word, token in checkpoint.vocabulary.words().items()}
    outputs = run(engine, image, {"regex": "t2[0-9]"}, {"choice": ["t31", "t32"]})
    for output, pattern in zip(outputs, ("t2[0-9]", "t3[12]"), strict=True):
        *tokens, end = output.token_ids
        assert re.fullmatch(pattern, "".join(words[token] for token in tokens))
        assert (end, output.finish_reason) == (checkpoint.vocabulary.eos, "stop")
