"""Async scheduling on a processor, which has no streams: what vLLM asks of CUDA for it, and results
that are there only when somebody asks for them, as those of a device that is slower than its host.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch
from vllm.v1.worker import cpu_model_runner


class Nothing:
    """An event or a stream of a device that does everything at once."""

    def __init__(self, *_: Any, **__: Any):
        self.record = self.synchronize = self.wait_stream = self.wait_event = lambda *_: None


class LateFuture(Future):  # type: ignore[type-arg]
    """Is done when its result was taken."""

    def __init__(self, compute: Callable[[], Any]):
        super().__init__()
        self.compute = compute

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.set_result(self.compute())
        return super().result(timeout)


class LateResults:
    """Stands for the thread that waits for the device, which now and then is the faster one."""

    def __init__(self) -> None:
        self.rng = random.Random(0)

    def submit(self, compute: Callable[[], Any]) -> Future:  # type: ignore[type-arg]
        future = LateFuture(compute)
        if self.rng.random() < 0.1:
            future.result()
        return future


def stand_in_for_cuda() -> None:
    """For the rest of the process; nothing else in it uses them."""
    torch.cuda.Event = torch.cuda.Stream = Nothing
    torch.cuda.current_stream = torch.cuda.default_stream = Nothing
    torch.cuda.stream = lambda _: contextlib.nullcontext()
    # vLLM's own stand-in lacks what async scheduling asks for.
    cpu_model_runner._torch_cuda_wrapper = contextlib.nullcontext
