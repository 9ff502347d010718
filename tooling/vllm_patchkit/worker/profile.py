"""What one step spends its time on: kernels, gaps between them, CPU work (PyTorch's profiler)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .steps import SETTLE_STEPS, Request, Run

if TYPE_CHECKING:
    from vllm import LLM

STEPS = 10
TOP = 25
GAPS = 12


def profile_steps(llm: LLM, requests: Sequence[Request], device: str) -> str:
    """Return a text that lists the top costs of a steady step.

    The engine has to run in this process, where the profiler can see it.
    """
    import torch
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if device == "cuda" else []
    profiler = torch.profiler.profile(activities=activities)
    first = 2 * SETTLE_STEPS
    run = Run(llm, requests)
    number = 0
    while run.step():
        number += 1
        if number == first:
            profiler.start()
        elif number == first + STEPS:
            profiler.stop()
    if number <= first + STEPS:
        return f"only {number} steps; a profile needs {first + STEPS + 1}: larger --size"
    wall_ms = 1e3 * statistics.mean(run.steps.seconds[first + 1 : first + STEPS])
    lines = [f"{len(requests)} requests, {STEPS} steps, {wall_ms:.2f} ms a step (profiled)"]
    averages = profiler.key_averages()
    if device == "cuda":
        lines += _gpu_lines(profiler.events())
        lines += ["", "GPU, by operator:", averages.table("self_cuda_time_total", row_limit=TOP)]
    lines += ["", "CPU, by operator:", averages.table("self_cpu_time_total", row_limit=TOP)]
    return "\n".join(lines)


def _gpu_lines(recorded: Iterable[Any]) -> list[str]:
    """Return busy time, top kernels and longest gaps of the GPU."""
    import torch

    spans = sorted(
        (event.time_range.start, event.time_range.end, str(event.name))
        for event in recorded
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    if not spans:
        return ["no kernel was recorded"]
    busy, gaps = find_gaps(spans)
    lines = [f"GPU busy {busy / STEPS / 1e3:.3f} ms a step", "", "kernels, us a step:"]
    totals: dict[str, float] = {}
    for start, end, name in spans:
        totals[name] = totals.get(name, 0.0) + end - start
    top = sorted(totals.items(), key=lambda entry: -entry[1])[:TOP]
    lines += [f"{total / STEPS:10.1f}  {name[:110]}" for name, total in top]
    lines += ["", "longest gaps of the GPU, us, between:"]
    return lines + [f"{gap:10.1f}  {a[:50]} -> {b[:50]}" for gap, a, b in gaps[:GAPS]]


def find_gaps(
    spans: Sequence[tuple[float, float, str]],
) -> tuple[float, list[tuple[float, str, str]]]:
    """Return the time covered by ``spans`` (sorted), and the gaps between them, longest first."""
    busy = 0.0
    gaps = []
    last_end, last_name = spans[0][0], ""
    for start, end, name in spans:
        if start > last_end:
            gaps.append((start - last_end, last_name, name))
        busy += max(0.0, end - max(start, last_end))
        if end > last_end:
            last_end, last_name = end, name
    return busy, sorted(gaps, reverse=True)
