"""Faults of releases themselves, which no stack made: what comes of one is a warning."""

from __future__ import annotations

import json
from pathlib import Path

from ..job import Job
from .engine import folder_of

# Whose CPU backend takes a request that resumes for one that generates.
RESUMES_WRONGLY = ("0.10.2", "0.11.0")
# Whose CPU kernel of RMSNorm reads rows with a stride as if they had none.
NORMS_WRONGLY = ("0.12.0",)


def fault_of(job: Job, architecture: str, scenario: str) -> str | None:
    """Return `known_fault` of a scenario with the vLLM and the checkpoint of this run."""
    from vllm import __version__

    return known_fault(scenario, job.device, __version__, folder_of(job, architecture))


def known_fault(scenario: str, device: str, version: str, model: Path) -> str | None:
    """Return what is wrong with a release itself, whatever was patched; None for the most part.

    :param model: the checkpoint's folder.
    """
    if device != "cpu":
        return None
    release = version.partition("+")[0]
    if release in NORMS_WRONGLY and norms_heads(model):
        return f"vLLM {release} on a CPU norms other numbers than those of queries and keys"
    if release in RESUMES_WRONGLY and scenario == "preemption":
        return f"vLLM {release} on a CPU lets a request that resumes attend to new tokens only"
    return None


def norms_heads(model: Path) -> bool:
    """Return whether a checkpoint has norms on q and k, whose input is a part of a larger row."""
    for file in model.glob("*.safetensors"):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        if any(".q_norm." in name for name in header):
            return True
    return False
