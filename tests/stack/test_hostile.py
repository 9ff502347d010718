"""Whatever a request holds, it ends in a refusal or in an answer, its neighbours' tokens are those
of the oracle, and the engine lives.

`HOSTILE_BODIES=2000 python -m pytest tests/stack/test_hostile.py` draws more than the usual number.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from engine import extra_args_of, params_of, prompt_of
from hostile import SERVER, Stranger
from server import Server
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from workload import editing, interleaved, text_to_image

BODIES = int(os.environ.get("HOSTILE_BODIES", "160"))
AT_ONCE = 8
MAX_MODEL_LEN = 160
REFUSALS = (ValueError, TypeError)
# What a stream may say after it has begun, of allowed ids without a visual token.
CANNOT_GO_ON = "no token of its image could be sampled"


@pytest.fixture(scope="module")
def neighbours(oracle):
    v = oracle.vocabulary
    requests = [
        text_to_image(v, 2, "3*4", max_tokens=40),
        editing(v, 6, size="2*2", max_tokens=40),
        interleaved(v, 1, "2*3", boi=3.0, max_tokens=40),
        text_to_image(v, 1, None, uncond=None, logit_bias={}, max_tokens=30, stop=()),
    ]
    return [(request, oracle.generate(request)) for request in requests]


def offline_request(stranger):
    """A prompt and parameters, or None where the caller cannot even write them down."""
    prompt, uncond, image, plain = stranger.request()
    try:
        if "structured_outputs" in plain:
            plain["structured_outputs"] = StructuredOutputsParams(**plain["structured_outputs"])
        params = SamplingParams(**plain, extra_args=image or None, detokenize=False)
    except Exception:
        return None
    return {"prompt_token_ids": prompt, **uncond}, params


def test_offline(start_engine, checkpoint, neighbours):
    engine = start_engine(checkpoint, max_num_seqs=24, max_model_len=MAX_MODEL_LEN)
    llm_engine, stranger = engine.llm.llm_engine, Stranger(checkpoint.vocabulary, seed=11)
    answers = refusals = 0
    for start in range(0, BODIES, AT_ONCE):
        for index, (request, _) in enumerate(neighbours):
            llm_engine.add_request(f"neighbour-{index}", prompt_of(request), params_of(request))
        for index in range(start, start + AT_ONCE):
            if (drawn := offline_request(stranger)) is None:
                refusals += 1
                continue
            try:
                llm_engine.add_request(f"stranger-{index}", *drawn)
                answers += 1
            except REFUSALS:
                refusals += 1
        found = {}
        while llm_engine.has_unfinished_requests():
            for output in llm_engine.step():
                if output.finished:
                    found[output.request_id] = list(output.outputs[0].token_ids)
        for index, (_, expected) in enumerate(neighbours):
            assert found[f"neighbour-{index}"] == expected, f"beside the bodies from {start} on"
        assert engine.free_blocks() == engine.total_blocks()
    assert answers + refusals == BODIES
    assert min(answers, refusals) > BODIES // 10


def post(server, body):
    """The status and the text of the answer to a body."""
    request = urllib.request.Request(
        f"{server.url}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=600) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def http_body(stranger):
    prompt, uncond, image, plain = stranger.request()
    body = {"prompt": prompt, **uncond, **plain, **stranger.some(SERVER)}
    body["stream"] = stranger.draw.random() < 0.4
    # Over HTTP both ways lead to the same place.
    return body | ({"vllm_xargs": image} if stranger.draw.random() < 0.4 else image)


def neighbour_body(request):
    body = {
        "prompt": request.prompt,
        "temperature": 0,
        "max_tokens": request.max_tokens,
        "stop_token_ids": list(request.stop),
        "logit_bias": {str(token): bias for token, bias in request.logit_bias.items()},
        "return_token_ids": True,
        **extra_args_of(request),
    }
    if request.uncond is not None:
        body["uncond_prompt_token_ids"] = request.uncond
    if request.uncond_no_image is not None:
        body["uncond_no_image_prompt_token_ids"] = request.uncond_no_image
    return body


def test_http(checkpoint, neighbours, tmp_path):
    stranger = Stranger(checkpoint.vocabulary, seed=12)
    arguments = ("--max-num-seqs", "24", "--max-model-len", str(MAX_MODEL_LEN))
    faults: list[tuple[object, ...]] = []
    statuses = set()
    with (
        Server(checkpoint, tmp_path / "log", *arguments) as server,
        ThreadPoolExecutor(AT_ONCE + len(neighbours)) as pool,
    ):
        for _ in range(0, BODIES, AT_ONCE):
            bodies = [http_body(stranger) for _ in range(AT_ONCE)]
            others = [
                pool.submit(post, server, neighbour_body(request)) for request, _ in neighbours
            ]
            answers = [pool.submit(post, server, body) for body in bodies]
            for body, answer in zip(bodies, answers, strict=True):
                status, text = answer.result()
                statuses.add(status)
                refused_late = 'data: {"error"' in text and CANNOT_GO_ON not in text
                if not (status == 200 or 400 <= status < 500) or refused_late:
                    faults.append((status, text[:300], body))
            for (_, expected), other in zip(neighbours, others, strict=True):
                status, text = other.result()
                assert status == 200, (text, bodies)
                assert json.loads(text)["choices"][0]["token_ids"] == expected, bodies
        assert server.get("/health") == ""
    assert not faults, "\n".join(map(str, faults[:20]))
    assert {200, 400} <= statuses
