"""Several positions of an image a step give the image of one position a step, token for token,
whatever the drafts are.
"""

from __future__ import annotations

import itertools
import random

import pytest
from engine import extra_args_of, params_of, prompt_of
from test_generation import IN_STEP, assert_idle, count_preemptions
from vllm.v1.sample.image_drafts import ImageDrafts
from workload import interleaved, text_to_image

LARGEST = 16


@pytest.fixture(scope="module", params=IN_STEP)
def engine(request, start_engine, checkpoint):
    """An engine that lives for all tests with these arguments."""
    return start_engine(
        checkpoint,
        additional_config={"image_window": LARGEST},
        **{"disable_log_stats": False} | IN_STEP[request.param],
    )


def window_params(request, window, **overrides):
    extra = {**extra_args_of(request), "image_window": window}
    return params_of(request, **{"extra_args": extra, **overrides})


def sample(engine, requests, window, seed=None):
    """Tokens of the requests, which the engine gets together; greedy ones without a seed."""
    overrides = {} if seed is None else {"temperature": 1.0}
    params = [
        window_params(
            request, window, **overrides | ({} if seed is None else {"seed": 1000 * seed + i})
        )
        for i, request in enumerate(requests)
    ]
    outputs = engine.llm.generate([prompt_of(r) for r in requests], params, use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in outputs]


def test_greedy_tokens_are_the_oracles(engine, workload, drafts, monkeypatch, request):
    """All requests together, twice: the second time the prefix cache is warm where there is one."""
    preempted = count_preemptions(monkeypatch)
    names = list(workload.requests)
    for _ in range(2):
        tokens = sample(engine, [workload.requests[name] for name in names], LARGEST)
        assert workload.differences(dict(zip(names, tokens, strict=True))) == {}
    if "few-blocks" in request.node.callspec.id:
        assert preempted
    assert drafts.proposed > drafts.accepted > 0
    assert_idle(engine)


IMAGES = ("image-4*4", "image-1*12", "three-streams", "opened-in-pixels", "interleaved")


def test_seeds_draw_the_same_in_any_window(engine, workload, drafts):
    """Alone, and with others that share the window."""
    requests = [workload.requests[name] for name in IMAGES]
    expected = sample(engine, requests, 1, seed=1)
    assert drafts.proposed == 0
    assert sample(engine, requests, LARGEST, seed=1) == expected
    assert drafts.proposed > drafts.accepted > 0
    assert sample(engine, requests, 1, seed=2) != expected
    assert_idle(engine)


class TestOneEngine:
    @pytest.fixture(scope="class")
    def engine(self, start_engine, checkpoint):
        return start_engine(
            checkpoint, additional_config={"image_window": LARGEST}, disable_log_stats=False
        )

    @pytest.mark.parametrize("kind", ["wrong", "right", "random", "text"])
    @pytest.mark.parametrize("seed", [None, 3, 4])
    def test_tokens_do_not_depend_on_drafts(
        self, engine, workload, drafts, monkeypatch, kind, seed
    ):
        """Not even on drafts from somebody who means harm."""
        requests = [workload.requests[name] for name in IMAGES]
        expected = sample(engine, requests, 1, seed)
        v, rng = workload.oracle.vocabulary, random.Random(5)
        first = engine.llm.request_counter.counter

        def propose(self, name, cursor, num_drafts):
            start = len(cursor.output)
            truth = expected[int(name) - first][start : start + num_drafts]
            assert len(truth) == num_drafts
            if kind == "right":
                return truth
            if kind == "wrong":
                return [v.visual_start + (t + 1) % v.visual_size for t in truth]
            if kind == "text":
                return [rng.randrange(v.visual_start) for _ in truth]
            return [rng.randrange(v.size) if rng.random() < 0.3 else t for t in truth]

        monkeypatch.setattr(ImageDrafts, "propose", propose)
        assert sample(engine, requests, LARGEST, seed) == expected
        assert drafts.proposed > 0
        if kind == "right":
            assert drafts.accepted == drafts.proposed
        elif kind == "random":
            assert 0 < drafts.accepted < drafts.proposed
        assert_idle(engine)

    def test_n_children_are_those_of_window_1(self, engine, oracle, drafts):
        request = text_to_image(oracle.vocabulary, 1, "3*3")

        def images(window):
            params = window_params(request, window, temperature=1.0, seed=7, n=2)
            (result,) = engine.llm.generate(prompt_of(request), params, use_tqdm=False)
            return [tuple(output.token_ids) for output in result.outputs]

        expected = images(1)
        assert len(set(expected)) == 2
        assert images(LARGEST) == expected
        assert drafts.accepted > 0

    def test_requests_without_windows_draw_as_ever(self, engine, workload, drafts):
        """A seed alone, and beside requests with windows."""
        names = ("image-4*4", "three-streams")
        requests = [workload.requests[name] for name in names]
        params = [params_of(r, temperature=1.0, seed=i) for i, r in enumerate(requests)]
        alone, crowd = (
            engine.llm.generate(
                [prompt_of(r) for r in (*requests, *requests[:extra])],
                [
                    *params,
                    *(window_params(r, 8, temperature=1.0, seed=9) for r in requests[:extra]),
                ],
                use_tqdm=False,
            )[:2]
            for extra in (0, 2)
        )
        tokens = [[list(r.outputs[0].token_ids) for r in found] for found in (alone, crowd)]
        assert tokens[0] == tokens[1]
        assert drafts.proposed > 0

    @pytest.mark.parametrize(
        "overrides",
        [
            {"logprobs": 1},
            {"presence_penalty": 0.1},
            {"frequency_penalty": 0.1},
            {"repetition_penalty": 1.1},
            {"min_tokens": 3},
            {"bad_words": ["t24 t25"]},
            {"logit_bias": {70: 3.0, 20: 40.0}},
        ],
        ids=lambda overrides: next(iter(overrides)),
    )
    def test_what_needs_the_tokens_takes_one_position(self, engine, oracle, drafts, overrides):
        request = text_to_image(oracle.vocabulary, 4, "3*3")
        results = [
            engine.llm.generate(
                prompt_of(request),
                window_params(request, window, temperature=1.0, seed=2, **overrides),
                use_tqdm=False,
            )[0].outputs[0]
            for window in (1, LARGEST)
        ]
        assert results[0].token_ids == results[1].token_ids
        assert len(results[0].token_ids) == 5 + 1 + 3 * 4 - 1
        assert drafts.proposed == 0
        if "logprobs" in overrides:
            assert len(results[1].logprobs) == len(results[1].token_ids)

    def test_ends_within_a_window(self, engine, oracle, drafts):
        """max_tokens, a stop token, and the context of either stream."""
        v = oracle.vocabulary
        requests = [
            text_to_image(v, 2, "5*5", max_tokens=17),
            text_to_image(v, 2, "5*5", stop=(v.eol,)),
            interleaved(v, 5, None, boi=40.0, prompt=v.text(440, seed=5), max_tokens=72),
            interleaved(
                v,
                5,
                None,
                boi=40.0,
                prompt=v.text(9, seed=5),
                uncond=v.text(480, seed=6),
                max_tokens=90,
            ),
        ]
        params = [[window_params(r, w) for r in requests] for w in (1, LARGEST)]
        one, many = (
            engine.llm.generate([prompt_of(r) for r in requests], p, use_tqdm=False) for p in params
        )
        for a, b, request in zip(one, many, requests, strict=True):
            a, b = a.outputs[0], b.outputs[0]
            assert list(a.token_ids) == list(b.token_ids)
            assert (a.finish_reason, a.stop_reason) == (b.finish_reason, b.stop_reason)
            assert list(a.token_ids) == oracle.generate(request)[: len(a.token_ids)]
        assert drafts.accepted > 0
        assert_idle(engine)

    def test_arrivals_and_aborts_at_any_time(self, engine, workload, drafts):
        """Requests of all windows come and go; those that stay are not disturbed."""
        rng = random.Random(8)
        llm_engine = engine.llm.llm_engine
        names = list(workload.requests)
        rng.shuffle(names)
        pending = [(f"{number}-{name}", name) for number, name in enumerate(names)]
        doomed = {r: rng.randrange(1, 15) for r, _ in rng.sample(pending, len(pending) // 3)}
        running, found, age = {}, {}, {}
        for step in itertools.count():
            for _ in range(rng.randrange(3)):
                if pending:
                    request_id, name = pending.pop()
                    request = workload.requests[name]
                    params = window_params(request, rng.choice((1, 2, 7, LARGEST)))
                    llm_engine.add_request(request_id, prompt_of(request), params)
                    running[request_id], age[request_id] = name, step
            for request_id in [r for r in running if step - age[r] >= doomed.get(r, 10**9)]:
                llm_engine.abort_request([request_id])
                del running[request_id]
            for output in llm_engine.step():
                if output.finished and output.request_id in running:
                    name = running.pop(output.request_id)
                    found[output.request_id] = (name, list(output.outputs[0].token_ids))
            if not pending and not running:
                break
            assert step < 20_000, f"starving: {running}"
        wrong = {r: workload.differences({name: tokens}) for r, (name, tokens) in found.items()}
        assert {r: difference for r, difference in wrong.items() if difference} == {}
        assert drafts.accepted > 0
        assert_idle(engine)

    def test_a_step_has_no_more_positions_than_one_image_alone(self, engine, workload, monkeypatch):
        """However many images run: the window shrinks as rows are added."""
        scheduler = engine.core.scheduler
        schedule, sizes = scheduler.schedule, []

        def record():
            output = schedule()
            if output.scheduled_spec_decode_tokens:
                rows = len(output.num_scheduled_tokens)
                drafts = sum(map(len, output.scheduled_spec_decode_tokens.values()))
                sizes.append((rows, rows + drafts))
            return output

        monkeypatch.setattr(scheduler, "schedule", record)
        names = ("image-5*5", "image-4*4", "image-3*7", "image-10*3")
        for count in (1, 2, 4):
            sizes.clear()
            tokens = sample(engine, [workload.requests[n] for n in names[:count]], LARGEST)
            assert tokens == [workload.expected(name) for name in names[:count]]
            assert max(total for _, total in sizes) <= 2 * LARGEST

    def test_statistics_are_those_of_speculative_decoding(self, engine, oracle, drafts):
        """Steps with drafts, drafts, and those that were right, also by place."""
        found = []
        scheduler = engine.core.scheduler
        make_stats = scheduler.make_stats
        scheduler.make_stats = lambda stats=None, *rest: (
            found.append(stats),
            make_stats(stats, *rest),
        )[1]
        try:
            sample(engine, [text_to_image(oracle.vocabulary, 4, "4*4")], LARGEST, seed=1)
        finally:
            del scheduler.make_stats
        stats = [s for s in found if s is not None]
        assert sum(s.num_drafts for s in stats) == drafts.steps
        assert sum(s.num_draft_tokens for s in stats) == drafts.proposed
        assert sum(s.num_accepted_tokens for s in stats) == drafts.accepted
        assert {len(s.num_accepted_tokens_per_pos) for s in stats} == {LARGEST - 1}
        metrics = {m.name: m for m in engine.llm.get_metrics()}
        assert metrics["vllm:spec_decode_num_drafts"].value >= drafts.steps
        assert metrics["vllm:spec_decode_num_accepted_tokens"].value >= drafts.accepted
        assert len(metrics["vllm:spec_decode_num_accepted_tokens_per_pos"].values) == LARGEST - 1

    @pytest.mark.parametrize("window", [0, -1, 1.5, "many", LARGEST + 1])
    def test_windows_that_are_refused(self, engine, oracle, window):
        request = text_to_image(oracle.vocabulary, 1, "2*2")
        with pytest.raises(ValueError, match="image_window"):
            engine.llm.generate(prompt_of(request), window_params(request, window), use_tqdm=False)

    def test_a_failure_within_a_window_ends_its_request_alone(
        self, engine, workload, drafts, monkeypatch
    ):
        """Tokens drawn before it are delivered, as they are in window 1."""
        from vllm.v1.sample.guided_sampler import GuidedSampler

        guide = GuidedSampler._guide
        expected = workload.expected("image-4*4")
        bad = workload.requests["image-4*4"]
        seen = {}

        def fail(logits, rows):
            guided = guide(logits, rows)
            guidance = getattr(rows, "_guidance", rows)
            lengths = guidance.get_num_output_tokens()
            places = rows._places if rows is not guidance else range(len(lengths))
            step = {}
            for index, place in enumerate(places):
                place = int(place)
                position = int(lengths[place]) + step.get(place, 0)
                step[place] = step.get(place, 0) + 1
                if guidance._rows_in_pixels[place].group.startswith("bad") and position == 13:
                    guided[index] = float("nan")
                    seen[len(step)] = True
            return guided

        monkeypatch.setattr(GuidedSampler, "_guide", staticmethod(fail))
        llm_engine = engine.llm.llm_engine
        for window in (1, LARGEST):
            llm_engine.add_request(f"bad-{window}", prompt_of(bad), window_params(bad, window))
            llm_engine.add_request(f"good-{window}", prompt_of(bad), window_params(bad, window))
            found = {}
            while llm_engine.has_unfinished_requests():
                for output in llm_engine.step():
                    found[output.request_id] = output.outputs[0]
            assert list(found[f"good-{window}"].token_ids) == expected
            assert list(found[f"bad-{window}"].token_ids) == expected[:13]
            assert found[f"bad-{window}"].finish_reason == "abort"
            assert "not finite" in found[f"bad-{window}"].stop_reason
        assert drafts.proposed > 0
        assert_idle(engine)


class TestStart:
    """What an engine with windows is refused with, or does without."""

    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            ({"async_scheduling": True}, "async_scheduling"),
            ({"enable_lora": True}, "enable_lora"),
            ({"pipeline_parallel_size": 2}, "pipeline_parallel_size"),
        ],
    )
    def test_settings_that_exclude_windows(self, checkpoint, arguments, names):
        from vllm import LLM

        with pytest.raises(ValueError, match="image_window.*" + names):
            LLM(
                str(checkpoint.path),
                additional_config={"image_window": 4},
                max_model_len=64,
                **arguments,
            )

    @pytest.mark.parametrize("window", [0, True, "8", 10**6])
    def test_settings_that_are_no_windows(self, checkpoint, window):
        from vllm import LLM

        with pytest.raises(ValueError, match="image_window"):
            LLM(str(checkpoint.path), additional_config={"image_window": window}, max_model_len=64)

    def test_an_engine_without_windows_refuses_them(self, start_engine, checkpoint, oracle):
        engine = start_engine(checkpoint)
        request = text_to_image(oracle.vocabulary, 1, "2*2")
        with pytest.raises(ValueError, match="additional_config"):
            engine.llm.generate(prompt_of(request), window_params(request, 2), use_tqdm=False)
        assert engine.generate([request]) == [oracle.generate(request)]

    def test_window_1_goes_with_async_scheduling(self, start_engine, checkpoint, workload):
        """It only changes where the noise comes from, and is the same as that of any window."""
        requests = [workload.requests[name] for name in IMAGES]
        engine = start_engine(checkpoint, additional_config={"image_window": 1})
        expected = sample(engine, requests, 1, seed=6)
        engine = start_engine(
            checkpoint, additional_config={"image_window": 1}, async_scheduling=True
        )
        assert sample(engine, requests, 1, seed=6) == expected
