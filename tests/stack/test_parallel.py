"""Several ranks, several engines, several processes: the same tokens."""

from __future__ import annotations

import asyncio

import checkpoint as tiny
import openai
import pytest
from engine import params_of, prompt_of
from oracle import Oracle, probabilities
from server import Server
from test_windows import IMAGES, LARGEST, sample, window_params
from vllm import LLM
from vllm.sampling_params import RequestOutputKind
from workload import Workload

pytestmark = pytest.mark.slow(seconds=150)

NAMES = (
    "image-4*4",
    "image-10*3",
    "image-3*7",
    "interleaved",
    "three-streams",
    "three-streams-interleaved",
    "text",
    "text-after-image",
    "unguided-image",
    "opened-in-both",
    "long-prompt",
)
SMALL = {
    "dtype": "float32",
    "max_model_len": 512,
    "block_size": 16,
    "enforce_eager": True,
    "disable_log_stats": True,
}


@pytest.fixture(scope="module")
def two_way(tmp_path_factory):
    """A checkpoint whose heads, layers and vocabulary divide by two."""
    return tiny.make_checkpoint(tmp_path_factory.mktemp("two-way"), tiny.TWO_WAY, seed=6)


@pytest.fixture(scope="module")
def workload(two_way):
    return Workload(Oracle(two_way))


PARALLEL = {
    "tensor-2": {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"},
    "pipeline-2": {
        "pipeline_parallel_size": 2,
        "distributed_executor_backend": "mp",
        "max_num_batched_tokens": 48,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("case", PARALLEL)
def test_ranks(case, start_engine, two_way, workload, monkeypatch):
    """Every rank samples the same token; a pipeline has several batches in flight."""
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "all|all")
    engine = start_engine(two_way, **PARALLEL[case])
    tokens = engine.generate([workload.requests[name] for name in NAMES])
    assert workload.differences(dict(zip(NAMES, tokens, strict=True))) == {}


@pytest.mark.slow
def test_ranks_draw_windows_alike(start_engine, two_way, workload, monkeypatch):
    """Ranks agree on what is kept of a window, and without a seed on the noise: a rank that kept
    another token would lead the others to tokens that are no candidates.
    """
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "all|all")
    engine = start_engine(
        two_way, additional_config={"image_window": LARGEST}, **PARALLEL["tensor-2"]
    )
    requests = [workload.requests[name] for name in IMAGES]
    tokens = sample(engine, requests, LARGEST)
    assert workload.differences(dict(zip(IMAGES, tokens, strict=True))) == {}
    one, many = (sample(engine, requests, window, seed=1) for window in (1, LARGEST))
    assert many == one

    request = workload.requests["image-4*4"]
    extra = window_params(request, LARGEST).extra_args | {"visual_top_k": 2}
    free = params_of(request, temperature=1.0, extra_args=extra)
    results = engine.llm.generate([prompt_of(request)] * 3, free, use_tqdm=False)
    images = [list(result.outputs[0].token_ids) for result in results]
    assert len(set(map(tuple, images))) == 3
    for image in images:
        for place, token in enumerate(image):
            logits = workload.oracle.next_logits(request, image[:place])
            assert probabilities(logits, 1.0, 2, 1.0)[token] > 0


@pytest.mark.slow
def test_ray_worker(start_engine, two_way, workload):
    """Hidden streams reach a worker that Ray runs."""
    ray_actor = pytest.importorskip("ray_actor", reason="Ray is not installed")
    engine = start_engine(two_way, distributed_executor_backend=ray_actor.RayActorExecutor)
    tokens = engine.generate([workload.requests[name] for name in NAMES])
    assert workload.differences(dict(zip(NAMES, tokens, strict=True))) == {}
    assert engine.core.model_executor.steps > 0


@pytest.mark.slow
def test_engine_in_another_process(two_way, workload, monkeypatch):
    """vLLM's default: the engine core in a process of its own, behind sockets."""
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    llm = LLM(str(two_way.path), **SMALL)
    requests = [workload.requests[name] for name in NAMES]
    results = llm.generate(
        [prompt_of(r) for r in requests], [params_of(r) for r in requests], use_tqdm=False
    )
    assert (
        workload.differences(
            {n: list(r.outputs[0].token_ids) for n, r in zip(NAMES, results, strict=True)}
        )
        == {}
    )


@pytest.mark.slow
def test_async_engine(two_way, workload):
    """`AsyncLLM` streams deltas; a stream that its reader leaves is aborted, a bad request fails
    alone.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    async def read(engine, name, leave_after=None):
        request, tokens = workload.requests[name], []
        params = params_of(request, output_kind=RequestOutputKind.DELTA)
        async for output in engine.generate(
            prompt_of(request), params, request_id=f"{name}-{leave_after}"
        ):
            tokens += output.outputs[0].token_ids
            if leave_after is not None and len(tokens) >= leave_after:
                return None
        return tokens

    async def bad(engine):
        params = params_of(workload.requests["image-4*4"], extra_args={"guidance_scale": -1})
        async for _ in engine.generate({"prompt_token_ids": [1, 30]}, params, request_id="bad"):
            pass

    async def everything():
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(str(two_way.path), **SMALL))
        try:
            jobs = [read(engine, name) for name in NAMES] + [
                read(engine, name, 9) for name in NAMES
            ]
            *results, error = await asyncio.gather(*jobs, bad(engine), return_exceptions=True)
            return results, error, await read(engine, "image-4*4")
        finally:
            engine.shutdown()

    results, error, last = asyncio.run(everything())
    assert workload.differences(dict(zip(NAMES, results, strict=False))) == {}
    assert isinstance(error, ValueError)
    assert "guidance_scale" in str(error)
    assert workload.differences({"image-4*4": last}) == {}


@pytest.mark.slow
def test_data_parallel_server(two_way, workload, tmp_path):
    """Two engines behind one server: each gets whole requests, both get some."""
    from test_server import body, tokens_of

    async def ask(url):
        async with openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=0
        ) as client:
            model = (await client.models.list()).data[0].id
            jobs = [
                client.completions.create(model=model, **body(workload.requests[name]))
                for name in NAMES
            ]
            return [tokens_of(response.choices[0]) for response in await asyncio.gather(*jobs)]

    # Cores to bind to, by engine.
    cores = {"VLLM_CPU_OMP_THREADS_BIND": "all|all"}
    with Server(two_way, tmp_path / "log", "--data-parallel-size", "2", **cores) as server:
        found = asyncio.run(ask(server.url))
        served = [
            server.metric("vllm:request_success_total", engine=engine) for engine in ("0", "1")
        ]
    assert workload.differences(dict(zip(NAMES, found, strict=True))) == {}
    assert sum(served) == len(NAMES)
    assert min(served) > 0
