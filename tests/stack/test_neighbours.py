"""What one request may ask for, and what becomes of the others: nothing.

Each case here once ended the engine for all, or changed the image of a neighbour without a word.
"""

from __future__ import annotations

import openai
import pytest
import torch
from engine import extra_args_of, params_of, prompt_of
from oracle import Request
from server import Server
from vllm import SamplingParams
from workload import editing, text_to_image

# Few tokens a step and few rows, so that guided requests wait for their streams.
CHUNKS = {"max_num_batched_tokens": 16, "max_num_seqs": 7}

# What once told rows apart, as a user may send it.
TAGS = [
    {"guidance_stream": 0},
    {"guidance_num_streams": "a"},
    {"guidance_stream": 0, "guidance_group": "victim"},
    {"guidance_group": "victim", "guidance_num_streams": 2},
]


@pytest.fixture(scope="module")
def engine(start_engine, checkpoint):
    return start_engine(checkpoint, **CHUNKS)


def generate(engine, requests, params):
    """Results of requests that are submitted together."""
    return engine.llm.generate([prompt_of(r) for r in requests], params, use_tqdm=False)


def tokens_of(result):
    return list(result.outputs[0].token_ids)


def check_prompt_logprobs(oracle, request, result):
    """As many entries as the prompt has tokens, with the values of the model."""
    prompt = request.prompt
    expected = oracle.model.logits(prompt)[:-1].log_softmax(-1)
    found = result.prompt_logprobs
    assert len(found) == len(prompt)
    assert found[0] is None
    assert [
        entry[token].logprob for entry, token in zip(found[1:], prompt[1:], strict=True)
    ] == pytest.approx([expected[i, token].item() for i, token in enumerate(prompt[1:])], abs=1e-4)


def requests_with_streams_to_catch_up(v) -> list[Request]:
    """One that waits for its stream after its prompt, others in the middle of an image."""
    image = v.image(3, 3, seed=1)[:9]
    return [
        text_to_image(v, 2, "2*6", prompt=v.text(3), uncond=v.text(284, seed=1)),
        text_to_image(v, 4, None, prompt=[*v.text(40, seed=2), *image], uncond=v.text(90)),
        editing(v, 6),
        Request(prompt=v.text(70, seed=3), max_tokens=20),
    ]


def test_prompt_logprobs_of_requests_that_are_held(engine, oracle):
    requests = requests_with_streams_to_catch_up(oracle.vocabulary)
    params = [params_of(r, prompt_logprobs=1) for r in requests]
    for request, result in zip(requests, generate(engine, requests, params), strict=True):
        assert tokens_of(result) == oracle.generate(request)
        check_prompt_logprobs(oracle, request, result)


class TestAllowedTokens:
    """`allowed_token_ids` limit the request that names them."""

    def allowed(self, v) -> list[int]:
        visual = range(v.visual_start, v.visual_start + v.visual_size, 2)
        return [*range(v.visual_start), *visual]

    def expected(self, oracle, request) -> list[int]:
        """Greedy tokens, of the allowed ones only where the grammar leaves a choice."""
        allowed = torch.full((oracle.vocabulary.size,), -torch.inf)
        allowed[self.allowed(oracle.vocabulary)] = 0
        output: list[int] = []
        while not output or output[-1] not in request.stop:
            logits = oracle.next_logits(request, output)
            limited = logits + allowed
            output.append(int((limited if limited.isfinite().any() else logits).argmax()))
        return output

    def test_of_a_guided_request(self, engine, oracle):
        """The hidden rows follow it, and read all logits for its guidance."""
        v = oracle.vocabulary
        requests = [text_to_image(v, 2, "3*4"), editing(v, 6)]
        for request in requests:
            params = params_of(request, allowed_token_ids=self.allowed(v))
            (result,) = generate(engine, [request], [params])
            assert tokens_of(result) == self.expected(oracle, request)

    def test_of_plain_neighbours(self, engine, oracle):
        """Some of which end before, so that rows move."""
        v = oracle.vocabulary
        image = text_to_image(v, 2, "4*4", prompt=v.text(9), uncond=v.text(40, seed=4))
        text = [Request(prompt=v.text(4 + i, seed=i), max_tokens=3 + 6 * i) for i in range(3)]
        word = [v.text_start, v.text_start + 1]
        requests = [text[0], image, text[1], text[2]]
        params = [params_of(r, allowed_token_ids=None if r is image else word) for r in requests]
        results = generate(engine, requests, params)
        assert tokens_of(results[1]) == oracle.generate(image)
        for result in (results[0], *results[2:]):
            assert set(tokens_of(result)) <= set(word)

    @pytest.mark.parametrize("kind", ["guided", "sized", "plain"])
    def test_without_a_visual_token(self, engine, oracle, kind):
        """The request ends with an error that its caller reads, and its neighbours go on."""
        v = oracle.vocabulary
        bad = {
            "guided": text_to_image(v, 2, "3*4"),
            "sized": text_to_image(v, 2, "3*4", uncond=None, scale=None),
            "plain": Request(prompt=v.text(9), max_tokens=40, logit_bias={v.boi: 40.0}),
        }[kind]
        requests = [bad, text_to_image(v, 1, "3*3"), editing(v, 6)]
        params = [params_of(r) for r in requests]
        params[0] = params_of(bad, allowed_token_ids=list(range(v.visual_start)))
        for logprobs in (None, 1):
            params[0].logprobs = params[0].prompt_logprobs = logprobs
            ended, *good = generate(engine, requests, params)
            assert ended.outputs[0].finish_reason == "abort"
            assert "no visual token" in ended.outputs[0].stop_reason
            tokens = tokens_of(ended)
            assert tokens[0] == v.boi
            assert tokens[-1] == v.img
            assert kind == "plain" or tokens == v.header(3, 4)
            assert [tokens_of(result) for result in good] == [
                oracle.generate(request) for request in requests[1:]
            ]
        assert engine.free_blocks() == engine.total_blocks()


@pytest.mark.parametrize("tags", TAGS, ids=str)
def test_names_of_users_are_no_tags(engine, oracle, tags):
    """What the scheduler tells the worker is in no namespace of users."""
    v = oracle.vocabulary
    victim, guided = text_to_image(v, 2, "3*4"), text_to_image(v, 1, "3*3")
    text = Request(prompt=v.text(9, seed=5), max_tokens=25)
    llm_engine, found = engine.llm.llm_engine, {}
    llm_engine.add_request("victim", prompt_of(victim), params_of(victim))
    llm_engine.add_request("text", prompt_of(text), params_of(text, extra_args=dict(tags)))
    params = params_of(guided)
    params.extra_args |= tags
    llm_engine.add_request("guided", prompt_of(guided), params)
    while llm_engine.has_unfinished_requests():
        found |= {o.request_id: tokens_of(o) for o in llm_engine.step() if o.finished}
    assert found == {
        "victim": oracle.generate(victim),
        "text": oracle.generate(text),
        "guided": oracle.generate(guided),
    }


def test_seeds_of_text_do_not_see_the_batch(engine, oracle):
    """Whether neighbours have seeds, draw at all, or write images."""
    v = oracle.vocabulary
    request = Request(prompt=v.text(9, seed=5), max_tokens=25)
    seeded = params_of(request, temperature=1.0, seed=7)
    image = text_to_image(v, 2, "3*4")

    def draw(*neighbours):
        requests = [request, *(r for r, _ in neighbours)]
        return tokens_of(generate(engine, requests, [seeded, *(p for _, p in neighbours)])[0])

    alone = draw()
    long_prompt = Request(prompt=v.text(60, seed=9), max_tokens=5)
    assert draw((request, params_of(request, temperature=1.0))) == alone
    assert draw((request, params_of(request))) == alone
    assert draw((image, params_of(image, temperature=1.0))) == alone
    assert draw((long_prompt, params_of(long_prompt, temperature=1.0, seed=3))) == alone


def test_a_seeded_prompt_in_chunks_draws_as_in_one_step(engine, oracle):
    """Samples in the middle of a prompt take no number from its generator."""
    v = oracle.vocabulary
    long_prompt = Request(prompt=v.text(60, seed=9), max_tokens=15)
    params = params_of(long_prompt, temperature=1.0, seed=3)
    # The second time all blocks but the last one are in the prefix cache.
    first, second = (tokens_of(generate(engine, [long_prompt], [params])[0]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_prompt_logprobs_of_requests_that_are_preempted(start_engine, checkpoint, oracle, policy):
    """Plain ones alone, and guided ones."""
    v = oracle.vocabulary
    engine = start_engine(
        checkpoint,
        num_gpu_blocks_override=36,
        max_num_batched_tokens=32,
        scheduling_policy=policy,
    )
    plain = [Request(prompt=v.text(100, seed=i), max_tokens=90) for i in range(4)]
    for requests in (plain, [*plain[:2], *requests_with_streams_to_catch_up(v)[1:3]]):
        params = [params_of(r, prompt_logprobs=1) for r in requests]
        for request, result in zip(requests, generate(engine, requests, params), strict=True):
            assert tokens_of(result) == oracle.generate(request)
            check_prompt_logprobs(oracle, request, result)


def test_children_of_one_priority(start_engine, checkpoint, oracle):
    """`n > 1` with the priority policy: the children arrive together."""
    v = oracle.vocabulary
    engine = start_engine(
        checkpoint, scheduling_policy="priority", num_gpu_blocks_override=40, max_num_seqs=9
    )
    request = Request(prompt=v.text(60, seed=1), max_tokens=90)
    (result,) = generate(engine, [request], [params_of(request, n=3, temperature=1.0, seed=1)])
    assert len({tuple(output.token_ids) for output in result.outputs}) == 3
    image = text_to_image(v, 1, "3*3")
    (result,) = engine.llm.generate(
        [prompt_of(image)],
        SamplingParams(
            n=3,
            seed=1,
            max_tokens=50,
            stop_token_ids=[v.eoi],
            logit_bias=image.logit_bias,
            detokenize=False,
            extra_args=params_of(image).extra_args,
        ),
        use_tqdm=False,
    )
    assert {len(output.token_ids) for output in result.outputs} == {17}


class TestOverHTTP:
    """The same from another process, through a server."""

    @pytest.fixture(scope="class")
    def client(self, checkpoint, tmp_path_factory):
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in CHUNKS.items()]
        log = tmp_path_factory.mktemp("server") / "log"
        with (
            Server(checkpoint, log, *arguments) as server,
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield client

    def complete(self, client, request, **fields):
        """The choice for a greedy request."""
        model = client.models.list().data[0].id
        extra = {"return_token_ids": True, "stop_token_ids": list(request.stop)}
        if request.uncond is not None:
            extra["uncond_prompt_token_ids"] = request.uncond
        (choice,) = client.completions.create(
            model=model,
            prompt=request.prompt,
            temperature=0,
            max_tokens=request.max_tokens,
            logit_bias={str(token): bias for token, bias in request.logit_bias.items()},
            extra_body=extra | extra_args_of(request) | fields.pop("extra_body", {}),
            **fields,
        ).choices
        return choice

    def test_echo_with_logprobs(self, client, oracle):
        """Of a request whose stream needs many steps to catch up."""
        request = text_to_image(
            oracle.vocabulary,
            2,
            "2*6",
            prompt=oracle.vocabulary.text(3),
            uncond=oracle.vocabulary.text(284, seed=1),
        )
        choice = self.complete(client, request, echo=True, logprobs=1)
        tokens = [*request.prompt, *oracle.generate(request)]
        assert list(choice.model_dump()["token_ids"]) in (tokens, tokens[len(request.prompt) :])
        expected = oracle.model.logits(tokens)[:-1].log_softmax(-1)
        found = choice.logprobs.token_logprobs
        assert found[0] is None
        assert found[1:] == pytest.approx(
            [expected[i, token].item() for i, token in enumerate(tokens[1:])], abs=1e-4
        )

    @pytest.mark.parametrize("tags", TAGS, ids=str)
    def test_names_of_users_are_no_tags(self, client, oracle, tags):
        v = oracle.vocabulary
        text = Request(prompt=v.text(9, seed=5), max_tokens=25)
        choice = self.complete(client, text, extra_body={"vllm_xargs": tags})
        assert list(choice.model_dump()["token_ids"]) == oracle.generate(text)
        image = text_to_image(v, 1, "3*3")
        choice = self.complete(client, image)
        assert list(choice.model_dump()["token_ids"]) == oracle.generate(image)
