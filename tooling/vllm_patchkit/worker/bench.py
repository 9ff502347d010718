"""Stage ``bench``: the artifact is identified, then its stack's own bench runs, or the general."""

from __future__ import annotations

import gc
import resource
import time

from .artifact import identify
from .general import bench as general
from .job import Job
from .own import load_proofs

STAGE = "bench"


def run(job: Job) -> None:
    """Measure everything that was asked for; each result is reported as soon as it is known."""
    installed = identify(job)
    own = [proof.bench for proof in load_proofs(installed, job).values() if proof.bench]
    measure = own[0] if own else general.run
    measure(job)


def copy_bandwidth(device: str) -> float:
    """Return the bytes a second that a large copy reads and writes on ``device``, the best of 5."""
    import torch

    size = (4 << 30) if device == "cuda" else (256 << 20)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(6):
        _synchronize(device)
        started = time.perf_counter()
        target.copy_(source)
        _synchronize(device)
        best = min(best, time.perf_counter() - started)
    del source, target
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    return 2 * size / best


def _synchronize(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def free_memory() -> None:
    """Free what an engine that was dropped held, so that another one of that size fits."""
    import torch
    from vllm.distributed import cleanup_dist_env_and_memory

    # Compiled code holds on to the weights it was compiled with.
    torch.compiler.reset()
    gc.collect()
    cleanup_dist_env_and_memory()


def peak_memory(device: str) -> int:
    """Return the bytes in use on the GPU (all processes), or the peak of this process on a CPU."""
    if device == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info()
        return int(total - free)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
