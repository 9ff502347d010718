"""An in-process vLLM engine that takes the oracle's requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from checkpoint import Checkpoint
from oracle import Request
from overlap import LateResults, stand_in_for_cuda
from vllm import LLM, RequestOutput, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory


def prompt_of(request: Request) -> dict[str, Any]:
    """What a caller passes as prompt."""
    prompt: dict[str, Any] = {"prompt_token_ids": request.prompt}
    if request.uncond is not None:
        prompt["uncond_prompt_token_ids"] = request.uncond
    if request.uncond_no_image is not None:
        prompt["uncond_no_image_prompt_token_ids"] = request.uncond_no_image
    return prompt


def extra_args_of(request: Request) -> dict[str, Any]:
    """What a caller passes as `SamplingParams.extra_args`."""
    extra: dict[str, Any] = {}
    if request.uncond is not None:
        extra["guidance_scale"] = request.scale
    if request.uncond_no_image is not None:
        extra["image_cfg_scale"] = request.image_scale
    if not request.same_size:
        extra["force_same_image_size"] = False
    if request.size is not None:
        height, width = map(int, request.size.split("*"))
        # With area = height * width the ratio r is 1, and sizes count 16 pixels.
        extra |= {"height": 16 * height, "width": 16 * width, "area": 256 * height * width}
    return extra


def params_of(request: Request, **overrides: Any) -> SamplingParams:
    """Greedy sampling parameters for `request`."""
    arguments: dict[str, Any] = {
        "temperature": 0.0,
        "max_tokens": request.max_tokens,
        "stop_token_ids": list(request.stop),
        "logit_bias": request.logit_bias or None,
        "extra_args": extra_args_of(request) or None,
        "detokenize": False,
    }
    return SamplingParams(**arguments | overrides)


class Engine:
    """`vllm.LLM` in this process, with small defaults for tests."""

    def __init__(self, checkpoint: Checkpoint, **arguments: Any):
        defaults = {
            "dtype": "float32",
            "max_model_len": 512,
            "max_num_seqs": 32,
            "block_size": 16,
            # 1 GiB of KV cache, the least that the CPU backend takes otherwise, outlives its
            # engine: a session of many engines would run out of memory.
            "num_gpu_blocks_override": 2048,
            "enforce_eager": True,
            "disable_log_stats": True,
            "seed": 0,
        }
        if arguments.get("async_scheduling"):
            stand_in_for_cuda()
            defaults["distributed_executor_backend"] = "uni"
            # `LLM` in one process wants statistics from every call; a call gives none before the
            # first step is done.
            arguments["disable_log_stats"] = True
        self.llm = LLM(str(checkpoint.path), **defaults | arguments)
        if arguments.get("async_scheduling"):
            self.core.model_executor.async_output_thread = LateResults()
            # For the events that tests count.
            self.core.scheduler.log_stats = True
            self.core.scheduler.make_stats = lambda *_: None

    @property
    def core(self) -> Any:
        """The engine core, which has the scheduler."""
        return self.llm.llm_engine.engine_core.engine_core

    def outputs(self, requests: Sequence[Request], **overrides: Any) -> list[RequestOutput]:
        """Results for all requests, submitted together."""
        return self.llm.generate(
            [prompt_of(r) for r in requests],
            [params_of(r, **overrides) for r in requests],
            use_tqdm=False,
        )

    def generate(self, requests: Sequence[Request], **overrides: Any) -> list[list[int]]:
        """Greedy tokens for all requests, submitted together."""
        return [list(output.outputs[0].token_ids) for output in self.outputs(requests, **overrides)]

    def free_blocks(self) -> int:
        """Free KV blocks; all but the null block when nothing runs."""
        return self.core.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()

    def total_blocks(self) -> int:
        return self.core.scheduler.kv_cache_manager.block_pool.num_gpu_blocks - 1

    def stop(self) -> None:
        """End the engine, and the processes of its ranks: they wait for the next step busily."""
        self.core.shutdown()
        del self.llm
        cleanup_dist_env_and_memory()


def plain(request: Request) -> Request:
    """The same request without guidance."""
    return replace(request, uncond=None, uncond_no_image=None)
