"""`vllm serve` and a plain OpenAI client (patches of the server, and AsyncLLM beneath it)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import checkpoint as tiny
import openai
import pytest
from engine import extra_args_of
from oracle import Request
from server import Server
from vllm.entrypoints.openai.serving_engine import raise_errors
from workload import editing, text_to_image


@pytest.fixture(scope="module")
def server(checkpoint, tmp_path_factory):
    # The tokenizer has no chat template: a chat here is the text of its messages.
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    arguments = ("--max-num-seqs", "15", "--chat-template", template)
    with Server(checkpoint, tmp_path_factory.mktemp("server") / "log", *arguments) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


@pytest.fixture(scope="module")
def words(oracle):
    return {token: word for word, token in oracle.vocabulary.words().items()}


def body(request: Request, **fields):
    """Arguments of `client.completions.create` for a greedy request."""
    extra = {
        "return_token_ids": True,
        "stop_token_ids": list(request.stop),
        **extra_args_of(request),
    }
    if request.uncond is not None:
        extra["uncond_prompt_token_ids"] = request.uncond
    if request.uncond_no_image is not None:
        extra["uncond_no_image_prompt_token_ids"] = request.uncond_no_image
    arguments = {
        "prompt": request.prompt,
        "temperature": 0,
        "max_tokens": request.max_tokens,
        "logit_bias": {str(token): bias for token, bias in request.logit_bias.items()},
        "extra_body": extra | fields.pop("extra_body", {}),
    }
    return arguments | fields


def tokens_of(choice):
    return list(choice.model_dump()["token_ids"])


def test_token_ids(client, model, oracle):
    """Token ids in, the oracle's token ids out; usage counts the conditional stream, once."""
    request = text_to_image(oracle.vocabulary, 2, "3*4")
    response = client.completions.create(model=model, **body(request))
    (choice,) = response.choices
    assert tokens_of(choice) == oracle.generate(request)
    assert choice.finish_reason == "stop"
    assert response.usage.prompt_tokens == len(request.prompt)
    assert response.usage.completion_tokens == len(oracle.generate(request))


def test_three_streams(client, model, oracle):
    request = editing(oracle.vocabulary, 6)
    response = client.completions.create(model=model, **body(request))
    assert tokens_of(response.choices[0]) == oracle.generate(request)


def test_text(client, model, oracle, words):
    """Prompts as text; the answer's text is the words of its tokens."""
    request = text_to_image(oracle.vocabulary, 3, "2*3")
    text = {"prompt": " ".join(words[token] for token in request.prompt)}
    extra = {
        "uncond_prompt": " ".join(words[token] for token in request.uncond),
        "uncond_prompt_token_ids": None,
        "skip_special_tokens": False,
    }
    response = client.completions.create(model=model, **body(request, **text, extra_body=extra))
    expected = oracle.generate(request)
    assert tokens_of(response.choices[0]) == expected
    # vLLM leaves the text of a stop token out.
    assert response.choices[0].text.split() == [words[token] for token in expected[:-1]]


def test_streaming(client, model, oracle):
    """Deltas add up to the result; a server that lags behind may join some of them."""
    request = text_to_image(oracle.vocabulary, 4, "4*4")
    chunks = list(
        client.completions.create(
            model=model, stream=True, stream_options={"include_usage": True}, **body(request)
        )
    )
    deltas = [tokens_of(chunk.choices[0]) for chunk in chunks if chunk.choices]
    expected = oracle.generate(request)
    assert [token for delta in deltas for token in delta] == expected
    assert len(deltas) > 1
    assert chunks[-1].usage.completion_tokens == len(expected)
    assert chunks[-1].usage.prompt_tokens == len(request.prompt)


@pytest.mark.parametrize("shared", [True, False])
def test_batch_of_prompts(client, model, oracle, shared):
    """Several prompts with one unconditional prompt for all, or one for each."""
    v = oracle.vocabulary
    requests = [
        text_to_image(
            v,
            3,
            "2*3",
            prompt=v.text(9 + seed, seed=50 + seed),
            uncond=v.text(5 if shared else 4 + seed, seed=60),
        )
        for seed in range(3)
    ]
    uncond = requests[0].uncond if shared else [request.uncond for request in requests]
    arguments = body(
        requests[0],
        prompt=[request.prompt for request in requests],
        extra_body={"uncond_prompt_token_ids": uncond},
    )
    response = client.completions.create(model=model, **arguments)
    found = [
        tokens_of(choice) for choice in sorted(response.choices, key=lambda choice: choice.index)
    ]
    assert found == [oracle.generate(request) for request in requests]


def test_n(client, model, oracle):
    """n images of one prompt; usage counts the prompt once."""
    v = oracle.vocabulary
    request = text_to_image(v, 1, "3*3")
    response = client.completions.create(model=model, **body(request, n=3, temperature=1.0, seed=3))
    images = [tokens_of(choice) for choice in response.choices]
    assert len({tuple(image) for image in images}) == 3
    assert all(
        image[:5] == v.header(3, 3) and len(image) == 17 and image[-1] == v.eoi for image in images
    )
    assert response.usage.prompt_tokens == len(request.prompt)
    assert response.usage.completion_tokens == 3 * 17


def test_plain_requests_and_unknown_fields(client, model, oracle):
    """A request without image parameters is what it was; fields that nobody knows are ignored, as
    upstream does.
    """
    request = Request(prompt=oracle.vocabulary.text(12, seed=70), max_tokens=12)
    arguments = body(request, extra_body={"no_such_field": 1})
    response = client.completions.create(model=model, **arguments)
    assert tokens_of(response.choices[0]) == oracle.generate(request)


def test_concurrent_clients(server, model, oracle, workload):
    """Streams of all kinds at once, each by a client of its own, and some that hang up."""
    names = [name for name in workload.requests if "free-size" not in name]

    async def one(client, name, hang_up):
        stream = await client.completions.create(
            model=model, stream=True, **body(workload.requests[name])
        )
        tokens = []
        async for chunk in stream:
            tokens += tokens_of(chunk.choices[0])
            if hang_up and len(tokens) > 8:
                await stream.close()
                return None
        return tokens

    async def all_of_them():
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1", api_key="none", max_retries=0
        ) as client:
            jobs = [
                one(client, name, hang_up)
                for name in names
                for hang_up in (False, len(name) % 2 == 0)
            ]
            return await asyncio.gather(*jobs)

    results = asyncio.run(all_of_them())
    assert workload.differences(dict(zip(names, results[::2], strict=True))) == {}
    deadline = time.monotonic() + 300
    while server.metric("vllm:num_requests_running") or server.metric("vllm:num_requests_waiting"):
        assert time.monotonic() < deadline, "requests of clients that hung up still run"
        time.sleep(0.2)
    assert server.metric("vllm:kv_cache_usage_perc") == 0


def test_metrics_count_a_guided_request_once(server, client, model, oracle):
    """One request, its own prompt tokens and its own generated tokens."""
    request = text_to_image(oracle.vocabulary, 2, "3*4", prompt=oracle.vocabulary.text(33, seed=71))
    names = (
        "vllm:request_success_total",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
    )
    before = [server.metric(name) for name in names]
    client.completions.create(model=model, **body(request))
    after = [server.metric(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [
        1,
        33,
        len(oracle.generate(request)),
    ]


BAD = {
    "scale": ({"guidance_scale": -2}, "guidance_scale"),
    "scale-type": ({"guidance_scale": "much"}, "guidance_scale"),
    "scale-without-prompt": ({"uncond_prompt_token_ids": None}, "guidance_scale"),
    "prompt-without-scale": ({"guidance_scale": None}, "guidance_scale"),
    "image-scale": ({"image_cfg_scale": 2}, "image_cfg_scale"),
    "size": ({"width": None}, "width"),
    "too-long": ({"width": 2048, "height": 2048, "area": 2048 * 2048}, "max_model_len"),
    "top-p": ({"visual_top_p": 2}, "visual_top_p"),
    "top-k": ({"text_top_k": -7}, "text_top_k"),
    "temperature": ({"visual_temperature": -1}, "visual_temperature"),
    "token-id": ({"uncond_prompt_token_ids": [1, 99999]}, "uncond_prompt"),
    "two-for-one": ({"uncond_prompt_token_ids": [[1], [1]]}, "uncond_prompt_token_ids"),
    "empty": ({"uncond_prompt_token_ids": []}, "uncond_prompt|prompt"),
    "long-uncond": ({"uncond_prompt_token_ids": [30] * 600}, "uncond|max_model_len"),
    "beam-search": ({"use_beam_search": True}, "beam"),
    "structured": ({"structured_outputs": {"choice": ["a", "b"]}}, "[Ss]tructured"),
    "min-p": ({"min_p": 0.2, "temperature": 1.0}, "min_p"),
    "response-format": ({"response_format": {"type": "json_object"}}, "response_format"),
    "area": ({"area": 10**400}, "area"),
    "scale-huge": ({"guidance_scale": 1e39}, "guidance_scale"),
    "temperature-huge": ({"visual_temperature": 1e39}, "visual_temperature"),
    "top-k-huge": ({"visual_top_k": 10**19, "temperature": 1.0}, "visual_top_k"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_bad_parameters_are_http_400(client, model, oracle, case, stream):
    """Each refusal names the parameter, streamed or not, and the server goes on."""
    extra, message = BAD[case]
    request = text_to_image(oracle.vocabulary, 2, "2*2")
    with pytest.raises(openai.BadRequestError, match=message) as error:
        list(
            client.completions.create(model=model, stream=stream, **body(request, extra_body=extra))
        )
    assert error.value.status_code == 400
    response = client.completions.create(model=model, **body(request))
    assert tokens_of(response.choices[0]) == oracle.generate(request)


PLAIN_BAD = {
    "top-k": ({"vllm_xargs": {"text_top_k": 10**19}, "temperature": 1.0}, "text_top_k"),
    "temperature": ({"temperature": 1e39}, "temperature"),
    "penalty": ({"repetition_penalty": 1e39}, "repetition_penalty"),
    "token-id": ({"prompt": [1, -5]}, "prompt"),
    "bias": ({"logit_bias": {"99999": 1}}, "logit_bias"),
    "allowed": ({"allowed_token_ids": [99999]}, "allowed_token_ids"),
    "stop-ids": ({"stop_token_ids": [99999], "min_tokens": 2}, "stop_token_ids"),
    "priority": ({"priority": 10**30}, "priority"),
    "unknown": ({"vllm_xargs": {"unknown": 10**30}}, "unknown"),
}


def test_plain_refusals_are_http_400_before_the_response_begins(client, model, oracle):
    """Streamed or not: no answer of status 200 that holds an error."""
    request = Request(prompt=oracle.vocabulary.text(12, seed=70), max_tokens=12)
    for extra, message in PLAIN_BAD.values():
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match=message):
                list(
                    client.completions.create(
                        model=model, stream=stream, **body(request, extra_body=extra)
                    )
                )
    response = client.completions.create(model=model, **body(request))
    assert tokens_of(response.choices[0]) == oracle.generate(request)


def ask(client, model, words, request, *, extra, stream):
    """All that a chat answers."""
    text = " ".join(words[token] for token in request.prompt)
    return list(
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            temperature=0,
            max_tokens=request.max_tokens,
            logit_bias={str(token): bias for token, bias in request.logit_bias.items()},
            stream=stream,
            extra_body={"add_special_tokens": False, **extra},
        )
    )


@pytest.mark.parametrize("stream", [False, True])
def test_chat_refuses_before_the_response_begins(client, model, oracle, words, stream):
    """A stream is checked before it begins, as in completions."""
    request = Request(prompt=oracle.vocabulary.text(12, seed=70), max_tokens=12)
    assert ask(client, model, words, request, extra={}, stream=stream)
    for name, value in (("text_top_k", 10**19), ("visual_temperature", 1e39), ("width", 64)):
        with pytest.raises(openai.BadRequestError, match=name):
            ask(client, model, words, request, extra={"vllm_xargs": {name: value}}, stream=stream)


@pytest.mark.parametrize("reason", [("stop", "word"), ("stop", None), ("abort", None)])
def test_only_errors_of_the_engine_are_raised(reason):
    """Not of who stops at a string, or leaves: in chat, which guides nothing, as in completions."""

    def output_of(finish_reason, stop_reason):
        choice = SimpleNamespace(finish_reason=finish_reason, stop_reason=stop_reason)
        return SimpleNamespace(outputs=[choice])

    async def outputs(*all_of_them):
        for output in all_of_them:
            yield output

    async def collect(*all_of_them):
        return [output async for output in raise_errors(outputs(*all_of_them))]

    begun, ended = output_of(None, None), output_of(*reason)
    assert asyncio.run(collect(begun, ended)) == [begun, ended]
    with pytest.raises(ValueError, match="the reason"):
        asyncio.run(collect(begun, output_of("abort", "the reason"), ended))


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_cannot_go_on_is_an_error(client, model, oracle, words, stream):
    """Plain ones are answered with HTTP 400, streams end with an error event."""
    v = oracle.vocabulary
    image = text_to_image(v, 2, "3*4")
    allowed = {"allowed_token_ids": list(range(v.visual_start))}
    error = openai.APIError if stream else openai.BadRequestError
    with pytest.raises(error, match="leave no visual token"):
        list(
            client.completions.create(model=model, stream=stream, **body(image, extra_body=allowed))
        )
    extra = allowed | {"vllm_xargs": {"width": 64, "height": 48, "area": 64 * 48}}
    with pytest.raises(error, match="leave no visual token"):
        ask(client, model, words, image, extra=extra, stream=stream)
    response = client.completions.create(model=model, **body(image))
    assert tokens_of(response.choices[0]) == oracle.generate(image)


def test_other_models_refuse_what_asks_for_an_image(tmp_path):
    """Else their caller would get text without a word."""
    qwen3 = tiny.make_checkpoint(
        tmp_path / "qwen3",
        architectures=["Qwen3ForCausalLM"],
        model_type="qwen3",
        auto_map=None,
        visual_token_offset=None,
        visual_vocab_size=None,
    )
    with (
        Server(qwen3, tmp_path / "log") as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        name = client.models.list().data[0].id
        for extra in (
            {"width": 64},
            {"guidance_scale": 3.0},
            {"uncond_prompt": "t1"},
            {"vllm_xargs": {"visual_top_k": 5}},
        ):
            for stream in (False, True):
                with pytest.raises(openai.BadRequestError, match="the model writes no images"):
                    list(
                        client.completions.create(
                            model=name, prompt=[1, 30], stream=stream, extra_body=extra
                        )
                    )
        extra = {"return_token_ids": True, "ignore_eos": True}
        answer = client.completions.create(
            model=name, prompt=[1, 30], max_tokens=3, extra_body=extra
        )
        assert len(tokens_of(answer.choices[0])) == 3


def test_image_parameters_without_guidance(client, model, oracle):
    """A size and no unconditional prompt: one stream, the grammar holds."""
    request = replace(text_to_image(oracle.vocabulary, 2, "3*3"), uncond=None)
    response = client.completions.create(model=model, **body(request))
    assert tokens_of(response.choices[0]) == oracle.generate(request)
