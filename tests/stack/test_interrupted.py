"""A call of `LLM` returns its own results, however the one before it ended."""

from __future__ import annotations

import signal

import pytest
from engine import params_of, prompt_of
from vllm import SamplingParams
from workload import text_to_image


@pytest.fixture(scope="module")
def engine(start_engine, checkpoint):
    return start_engine(checkpoint, max_num_seqs=6)


@pytest.fixture
def request_(oracle):
    return text_to_image(oracle.vocabulary, 2, "3*4")


@pytest.fixture(autouse=True)
def only_its_own(engine, oracle, request_):
    """After every test the next call has one result, and the engine holds nothing."""
    yield
    (output,) = engine.outputs([request_])
    assert list(output.outputs[0].token_ids) == oracle.generate(request_)
    assert not engine.llm.llm_engine.has_unfinished_requests()
    assert engine.free_blocks() == engine.total_blocks()


class Impatient(Exception):
    """What a caller's own timeout raises."""


@pytest.mark.parametrize("error", [Impatient, KeyboardInterrupt])
@pytest.mark.parametrize("steps", [0, 1, 9])
def test_interrupted_between_steps(engine, request_, monkeypatch, error, steps):
    llm_engine, left = engine.llm.llm_engine, iter(range(steps))
    step = llm_engine.step

    def interrupted():
        if next(left, None) is None:
            raise error
        return step()

    with monkeypatch.context() as patch:
        patch.setattr(llm_engine, "step", interrupted)
        with pytest.raises(error):
            engine.outputs([request_] * 3)
    assert not llm_engine.has_unfinished_requests()


def moments_of(engine):
    """What a step calls one after the other, by name: an object and its method."""
    scheduler = engine.core.scheduler
    runner = engine.core.model_executor.driver_worker.worker.model_runner
    return {
        "schedule": (scheduler, "schedule"),
        "model": (runner.get_model(), "forward"),
        "sampler": (runner.sampler, "forward"),
        "update": (scheduler, "update_from_output"),
    }


@pytest.mark.parametrize("moment", ["schedule", "model", "sampler", "update"])
@pytest.mark.parametrize("steps", [0, 1, 30])
def test_interrupted_by_an_alarm(engine, oracle, monkeypatch, moment, steps):
    """In the middle of a step. Not at any time: vLLM's own worker may be left with half of the
    changes to its batch, which no caller can mend.
    """
    long = text_to_image(oracle.vocabulary, 1, "15*20", max_tokens=400)
    owner, name = moments_of(engine)[moment]
    act, left = getattr(owner, name), iter(range(steps))

    def ring(*_):
        raise Impatient

    def rung(*arguments, **named):
        if next(left, None) is None:
            signal.raise_signal(signal.SIGALRM)
        return act(*arguments, **named)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, rung)
            with pytest.raises(Impatient):
                engine.outputs([long] * 2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not engine.llm.llm_engine.has_unfinished_requests()


def test_one_of_several_is_refused(engine, request_):
    """Those before it are not left to the next call."""
    refused = params_of(request_, extra_args={"guidance_scale": -3})
    with pytest.raises(ValueError, match="guidance_scale"):
        engine.llm.generate(
            [prompt_of(request_)] * 3,
            [params_of(request_), params_of(request_), refused],
            use_tqdm=False,
        )
    assert not engine.llm.llm_engine.has_unfinished_requests()


def test_children_of_one_request(engine, request_, monkeypatch):
    def interrupted():
        raise Impatient

    params = params_of(request_, n=3, temperature=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(engine.llm.llm_engine, "step", interrupted)
        with pytest.raises(Impatient):
            engine.llm.generate(prompt_of(request_), params, use_tqdm=False)


def test_results_of_others_are_not_its_own(engine, request_):
    """A request that somebody added to the engine beneath is served, and no result of a call."""
    engine.llm.llm_engine.add_request(
        "777", {"prompt_token_ids": [1, 30]}, SamplingParams(max_tokens=3, detokenize=False)
    )
    (output,) = engine.outputs([request_])
    assert output.request_id != "777"
