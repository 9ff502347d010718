"""Greedy engine output equals the oracle's, token for token, whatever shares the batch and however
it is scheduled.
"""

from __future__ import annotations

import itertools
import random

import pytest
from engine import params_of, prompt_of
from vllm import SamplingParams
from workload import editing, interleaved, text_to_image

# Engine arguments, by what they are to provoke.
IN_STEP = {
    "defaults": {},
    "chunks-of-16-tokens": {"max_num_batched_tokens": 16, "max_num_seqs": 7},
    "three-rows": {"max_num_seqs": 3, "max_num_batched_tokens": 64},
    "no-prefix-cache": {
        "enable_prefix_caching": False,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": 2048,
    },
    "few-blocks": {"num_gpu_blocks_override": 60, "disable_log_stats": False},
    "few-blocks-and-chunks": {
        "num_gpu_blocks_override": 60,
        "max_num_batched_tokens": 24,
        "max_num_seqs": 9,
        "disable_log_stats": False,
    },
    "few-blocks-by-priority": {
        "num_gpu_blocks_override": 60,
        "scheduling_policy": "priority",
        "disable_log_stats": False,
    },
}
# The same, with each step scheduled before the tokens of the last one are known.
ENGINES = IN_STEP | {
    f"{name}-overlapped": {**arguments, "async_scheduling": True}
    for name, arguments in IN_STEP.items()
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, start_engine, checkpoint):
    """An engine that lives for all tests with these arguments."""
    return start_engine(checkpoint, **ENGINES[request.param])


def count_preemptions(monkeypatch):
    """The ids of requests, in the order in which they were preempted."""
    from vllm.v1.engine import EngineCoreEventType
    from vllm.v1.request import Request

    preempted = []
    record_event = Request.record_event

    def record(self, event_type, timestamp=None):
        if event_type is EngineCoreEventType.PREEMPTED:
            preempted.append(self.request_id)
        return record_event(self, event_type, timestamp)

    monkeypatch.setattr(Request, "record_event", record)
    return preempted


def assert_idle(engine):
    """Nothing is left behind: no blocks, no requests, no rows in the worker."""
    engine.llm.generate(
        {"prompt_token_ids": [1, 30]},
        SamplingParams(max_tokens=1, detokenize=False),
        use_tqdm=False,
    )
    scheduler = engine.core.scheduler
    assert engine.free_blocks() == engine.total_blocks()
    assert not scheduler.requests
    assert not scheduler.running
    assert not scheduler.waiting
    runner = engine.core.model_executor.driver_worker.worker.model_runner
    # The worker hears of the last request's end with the next step.
    assert len(runner.requests) <= 1
    assert runner.input_batch.num_reqs <= 1


def test_everything_at_once(engine, workload, request, monkeypatch):
    """All requests together, twice: the second time the prefix cache is warm where there is one."""
    preempted = count_preemptions(monkeypatch)
    names = list(workload.requests)
    for _ in range(2):
        tokens = engine.generate([workload.requests[name] for name in names])
        assert workload.differences(dict(zip(names, tokens, strict=True))) == {}
    if "few-blocks" in request.node.callspec.id:
        assert preempted
    assert_idle(engine)


def test_arrivals_and_aborts_at_any_time(engine, workload):
    """Requests come and go while others run; those that stay are not disturbed."""
    rng = random.Random(7)
    llm_engine = engine.llm.llm_engine
    names = list(workload.requests) * 2
    rng.shuffle(names)
    pending = [(f"{number}-{name}", name) for number, name in enumerate(names)]
    doomed = {
        request_id: rng.randrange(1, 25) for request_id, _ in rng.sample(pending, len(pending) // 3)
    }
    running, found, age = {}, {}, {}
    for step in itertools.count():
        for _ in range(rng.randrange(3)):
            if pending:
                request_id, name = pending.pop()
                request = workload.requests[name]
                priority = (
                    rng.randrange(3) if engine.core.scheduler.policy.value == "priority" else 0
                )
                llm_engine.add_request(
                    request_id, prompt_of(request), params_of(request), priority=priority
                )
                running[request_id], age[request_id] = name, step
        for request_id in [r for r in running if step - age[r] >= doomed.get(r, 10**9)]:
            llm_engine.abort_request([request_id])
            del running[request_id]
        for output in llm_engine.step():
            if output.finished and output.request_id in running:
                found[output.request_id] = (
                    running.pop(output.request_id),
                    list(output.outputs[0].token_ids),
                )
        if not pending and not running:
            break
        assert step < 20_000, f"starving: {running}"
    assert len(found) >= len(names) // 2
    wrong = {r: workload.differences({name: tokens}) for r, (name, tokens) in found.items()}
    assert {r: difference for r, difference in wrong.items() if difference} == {}
    assert_idle(engine)


def test_one_request_is_one_result(start_engine, checkpoint, oracle):
    """The result has the conditional prompt, one output, the digits and EOI, and says why it
    ended.
    """
    v = oracle.vocabulary
    request = text_to_image(v, 2, "3*4")
    results = start_engine(checkpoint).outputs([request])

    (result,) = results
    (output,) = result.outputs
    assert result.finished
    assert result.prompt_token_ids == request.prompt
    assert list(output.token_ids) == oracle.generate(request)
    assert list(output.token_ids)[:5] == v.header(3, 4)
    assert (output.finish_reason, output.stop_reason) == ("stop", v.eoi)


def test_prefix_cache_serves_the_hidden_stream_too(start_engine, checkpoint, oracle):
    """A repeated prompt is found in the cache, for the user's statistics only as far as it is the
    user's.
    """
    v = oracle.vocabulary
    request = text_to_image(v, 2, "3*4", prompt=v.text(100, seed=40), uncond=v.text(80, seed=41))
    engine = start_engine(checkpoint)

    first, second = (engine.outputs([request])[0] for _ in range(2))

    assert (
        list(first.outputs[0].token_ids)
        == list(second.outputs[0].token_ids)
        == oracle.generate(request)
    )
    assert first.num_cached_tokens == 0
    assert 0 < second.num_cached_tokens < len(request.prompt)


class TestSampling:
    """Parameters that every request may have, on guided ones."""

    @pytest.fixture(scope="class")
    def engine(self, start_engine, checkpoint):
        return start_engine(checkpoint)

    def sample(self, engine, request, **overrides):
        arguments = {"temperature": 1.0, "seed": 1}
        return engine.outputs([request], **arguments | overrides)[0]

    def test_n_children_are_separate_samples(self, engine, oracle):
        """n > 1 gives n images of one request, each well-formed, and as many as asked for."""
        v = oracle.vocabulary
        request = text_to_image(v, 1, "3*3")
        result = self.sample(engine, request, n=3)
        images = [tuple(output.token_ids) for output in result.outputs]
        assert len(set(images)) == 3
        for image in images:
            assert list(image[:5]) == v.header(3, 3)
            assert [v.is_visual(token) for token in image[5:]] == ([True] * 3 + [False]) * 3
            assert (image[8], image[12], image[16]) == (v.eol, v.eol, v.eoi)

    def test_seed_fixes_the_draw_whatever_shares_the_batch(self, engine, oracle, workload):
        """The same seed gives the same image alone and in a crowd; another seed another one."""
        request = text_to_image(oracle.vocabulary, 4, "4*4")
        alone = list(self.sample(engine, request, seed=5).outputs[0].token_ids)
        others = [
            workload.requests[name]
            for name in ("interleaved", "image-5*5", "text", "three-streams")
        ]
        params = [params_of(other) for other in others] + [
            params_of(request, temperature=1.0, seed=5)
        ]
        crowd = engine.llm.generate(
            [prompt_of(r) for r in (*others, request)], params, use_tqdm=False
        )
        assert list(crowd[-1].outputs[0].token_ids) == alone
        assert list(self.sample(engine, request, seed=6).outputs[0].token_ids) != alone

    def test_a_seed_draws_the_same_with_logprobs(self, engine, oracle):
        """Although a request with logprobs takes a step for each forced token."""
        request = text_to_image(oracle.vocabulary, 4, "4*2")
        without, asked = (
            self.sample(engine, request, seed=5, **more).outputs[0]
            for more in ({}, {"logprobs": 1})
        )
        assert list(without.token_ids) == list(asked.token_ids)
        assert len(asked.logprobs) == len(asked.token_ids)

    def test_logprobs_are_the_conditional_models_own(self, engine, oracle):
        """Raw log-probabilities of the conditional stream, the default of vLLM, for each generated
        token.
        """
        request = text_to_image(
            oracle.vocabulary,
            2,
            "2*3",
            logit_bias={},
            prompt=[*oracle.vocabulary.text(9), oracle.vocabulary.boi],
        )
        result = engine.outputs([request], logprobs=2)[0].outputs[0]
        tokens = list(result.token_ids)
        logits = oracle.model.logits([*request.prompt, *tokens])[len(request.prompt) - 1 : -1]
        expected = logits.log_softmax(-1)[range(len(tokens)), tokens].tolist()
        found = [entry[token].logprob for entry, token in zip(result.logprobs, tokens, strict=True)]
        assert found == pytest.approx(expected, abs=1e-4)

    def test_max_tokens_ends_within_an_image(self, engine, oracle):
        request = text_to_image(oracle.vocabulary, 2, "5*5", max_tokens=17)
        output = engine.outputs([request])[0].outputs[0]
        assert list(output.token_ids) == oracle.generate(request)
        assert (len(output.token_ids), output.finish_reason) == (17, "length")

    def test_stop_token_within_an_image(self, engine, oracle):
        """A caller may stop at the end of the first row."""
        v = oracle.vocabulary
        request = text_to_image(v, 2, "5*5", stop=(v.eol,))
        tokens = engine.generate([request])[0]
        assert tokens == oracle.generate(request)
        assert tokens[-1] == v.eol

    def test_context_ends_within_an_image_that_is_free_in_size(self, engine, oracle):
        """An image whose size the model chose may outgrow the context; the request ends there,
        with LENGTH.
        """
        request = interleaved(
            oracle.vocabulary,
            5,
            None,
            boi=40.0,
            prompt=oracle.vocabulary.text(440, seed=5),
            max_tokens=72,
        )
        output = engine.outputs([request])[0].outputs[0]
        assert list(output.token_ids) == oracle.generate(request)
        assert output.finish_reason == "length"

    def test_context_of_the_hidden_stream_ends_first(self, engine, oracle):
        """The unconditional prompt is the longer one here, so its context is full first."""
        v = oracle.vocabulary
        request = interleaved(
            v,
            5,
            None,
            boi=40.0,
            prompt=v.text(9, seed=5),
            uncond=v.text(480, seed=6),
            max_tokens=90,
        )
        output = engine.outputs([request])[0].outputs[0]
        tokens = list(output.token_ids)
        assert tokens == oracle.generate(request)[: len(tokens)]
        assert 512 - 480 - 2 <= len(tokens) <= 512 - 480 + 2
        assert output.finish_reason == "length"

    def test_min_tokens_and_bad_words_leave_the_grammar_alone(self, engine, oracle):
        v = oracle.vocabulary
        request = text_to_image(v, 2, "3*3")
        assert engine.generate([request], min_tokens=3) == [oracle.generate(request)]


def test_priority_is_honoured(start_engine, checkpoint, oracle):
    """With room for one guided request at a time, the most urgent one goes first."""
    v = oracle.vocabulary
    engine = start_engine(checkpoint, scheduling_policy="priority", max_num_seqs=2)
    llm_engine = engine.llm.llm_engine
    requests = {
        name: text_to_image(v, seed, "2*2") for seed, name in enumerate(("late", "soon", "now"))
    }
    for name, priority in (("late", 5), ("soon", 3), ("now", 1)):
        llm_engine.add_request(
            name, prompt_of(requests[name]), params_of(requests[name]), priority=priority
        )
    order = []
    while llm_engine.has_unfinished_requests():
        order += [output.request_id for output in llm_engine.step() if output.finished]
    assert order == ["now", "soon", "late"]


def test_the_contract_of_existing_callers(start_engine, checkpoint, workload):
    """The arguments that callers of the public patches pass, word for word, give the same tokens
    as none of them.
    """
    v = checkpoint.vocabulary
    engine = start_engine(
        checkpoint,
        scheduler_cls="vllm.v1.core.sched.batch_scheduler.Scheduler",
        additional_config={
            "boi_token_id": v.boi,
            "soi_token_id": v.img,
            "eol_token_id": v.eol,
            "eoi_token_id": v.eoi,
            "resolution_map": {v.digit(character): character for character in "0123456789*"},
        },
        enable_chunked_prefill=False,
        enable_prefix_caching=False,
        max_num_seqs=2,
        max_num_batched_tokens=512,
    )
    found = {}
    for name in ("image-4*4", "image-3*7", "image-10*3"):
        request = workload.requests[name]
        height, width = map(int, request.size.split("*"))
        params = SamplingParams(
            temperature=0.0,
            max_tokens=request.max_tokens,
            stop_token_ids=[v.eoi],
            logit_bias=request.logit_bias,
            detokenize=False,
            top_k=131072,
            extra_args={
                "guidance_scale": request.scale,
                "text_top_k": 1024,
                "text_top_p": 0.9,
                "text_temperature": 0.0,
                "visual_top_k": 5120,
                "visual_top_p": 1.0,
                "visual_temperature": 0.0,
                "width": width * 16,
                "height": height * 16,
                "area": width * height * 256,
            },
        )
        results = engine.llm.generate(
            {"prompt_token_ids": request.prompt, "uncond_prompt_token_ids": request.uncond},
            params,
            use_tqdm=False,
        )
        found[name] = list(results[0].outputs[0].token_ids)
    assert workload.differences(found) == {}


def test_requests_larger_than_the_batch_wait_for_one_another(start_engine, checkpoint, oracle):
    """An odd number of rows, an odd number of guided requests, and room for one at a time: all of
    them end.
    """
    v = oracle.vocabulary
    engine = start_engine(checkpoint, max_num_seqs=3)
    requests = [editing(v, seed) for seed in range(3)] + [
        text_to_image(v, seed, "2*2") for seed in range(3)
    ]
    assert engine.generate(requests) == [oracle.generate(request) for request in requests]


def test_text_prompts(start_engine, checkpoint, oracle):
    """`prompt` and `uncond_prompt` as text, as token ids, and mixed."""
    v = oracle.vocabulary
    engine = start_engine(checkpoint)
    request = text_to_image(v, 3, "3*4")
    tokenizer = engine.llm.get_tokenizer()
    text, uncond_text = (
        " ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in (request.prompt, request.uncond)
    )
    prompts = [
        {"prompt": text, "uncond_prompt": uncond_text},
        {"prompt": text, "uncond_prompt_token_ids": request.uncond},
        {"prompt_token_ids": request.prompt, "uncond_prompt": uncond_text},
        {
            "prompt_token_ids": request.prompt,
            "uncond_prompt": "t24",
            "uncond_prompt_token_ids": request.uncond,
        },
    ]
    results = engine.llm.generate(prompts, params_of(request), use_tqdm=False)
    assert [list(result.outputs[0].token_ids) for result in results] == [
        oracle.generate(request)
    ] * 4
