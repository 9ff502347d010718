"""The engine of a stage: what it is made with, and how long it takes to load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import events
from .job import Job

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.v1.engine.async_llm import AsyncLLM

Engine = TypeVar("Engine")


def make_arguments(job: Job, model: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``LLM``, ``AsyncEngineArgs`` and ``vllm serve``.

    :param defaults: what the scenarios need; what was asked for comes before it. What is in neither
        is vLLM's default.
    """
    asked = {
        "dtype": job.dtype,
        "quantization": job.quantization,
        "gpu_memory_utilization": job.gpu_memory_utilization,
        "trust_remote_code": job.trust_remote_code,
        # On a CPU, compiling takes a minute and a C++ compiler, for no gain at this size.
        "enforce_eager": job.eager or job.device == "cpu",
    }
    return {
        "model": str(model),
        "tensor_parallel_size": job.tensor_parallel_size,
        "seed": 0,
        **defaults,
        **{name: value for name, value in asked.items() if value},
    }


def tiny_defaults(job: Job) -> dict[str, Any]:
    """Return what a tiny model takes: float32, so that greedy tokens can equal an oracle's."""
    # fp8 kernels take bfloat16 only.
    defaults: dict[str, Any] = {"dtype": "bfloat16" if job.quantization else "float32"}
    if job.device == "cuda":
        defaults["gpu_memory_utilization"] = 0.3
    return defaults


def is_float32(job: Job) -> bool:
    """Return whether a tiny model's greedy tokens have to be an oracle's."""
    return job.quantization is None and (job.dtype or "float32") == "float32"


def load(stage: str, arguments: Mapping[str, Any]) -> LLM:
    """Return the engine of a script; its load time is reported."""

    def make() -> LLM:
        from vllm import LLM

        return LLM(**arguments)

    return _timed(stage, make)


def load_async(stage: str, arguments: Mapping[str, Any]) -> AsyncLLM:
    """Return the engine below a server; its load time is reported."""

    def make() -> AsyncLLM:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        engine: AsyncLLM = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        give_turns(engine)
        return engine

    return _timed(stage, make)


def give_turns(engine: Any) -> None:
    """Let the readers of an ``AsyncLLM`` take what one step gave before it looks at the next.

    What arrived while the event loop was busy, with a first request for example, it handles in one
    go, and merges for each reader: on a busy machine every request came in one piece, as from an
    engine that does not stream.
    """
    core = engine.engine_core
    next_output = core.get_output_async

    async def get_output_async() -> Any:
        await asyncio.sleep(0)
        return await next_output()

    core.get_output_async = get_output_async


def _timed(stage: str, make: Callable[[], Engine]) -> Engine:
    started = time.monotonic()
    events.note(stage, "loading the engine")
    engine = make()
    events.send("load", stage=stage, seconds=round(time.monotonic() - started, 2))
    return engine
