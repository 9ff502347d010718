"""Scenarios for any vLLM: tiny random models of real architectures, with transformers as oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..job import Job

if TYPE_CHECKING:
    from vllm import LLM


def load_tiny(job: Job, architecture: str, **arguments: Any) -> LLM:
    """Return an ``LLM`` on a tiny random model, for scenarios of a stack's own.

    :param arguments: of ``LLM``, over those that the general scenarios use.
    """
    from vllm import LLM

    from .checkpoints import write_checkpoint
    from .engine import engine_arguments, folder_of

    folder = folder_of(job, architecture)
    if not (folder / "config.json").exists():
        write_checkpoint(architecture, folder)
    return LLM(**{**engine_arguments(job, architecture), **arguments})
