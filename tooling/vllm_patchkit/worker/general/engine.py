"""Requests and engine arguments of the general scenarios, in vLLM's terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine import make_arguments, tiny_defaults
from ..job import Job
from .checkpoints import CONTEXT, short_name
from .oracle import Case

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

# Longer prompts come in chunks.
BATCHED_TOKENS = 64
# A multiple of 32 is what every backend of every release takes.
BLOCK = 32
# Enough for one request of full length, too few for all requests at once.
BLOCKS = 15
SEQUENCES = 16
REAL_MODEL = "model"


def folder_of(job: Job, architecture: str) -> Path:
    """Return the checkpoint that the engine loads."""
    return Path(job.model) if job.model else job.scratch / f"general-{short_name(architecture)}"


def cases_file(job: Job, architecture: str) -> Path:
    """Return where the cases of a checkpoint lie."""
    return job.scratch / f"general-{short_name(architecture)}.pt"


def engine_arguments(job: Job, architecture: str) -> dict[str, Any]:
    """Return the arguments of ``LLM``, ``AsyncEngineArgs`` and ``vllm serve``."""
    defaults = {
        **tiny_defaults(job),
        "max_model_len": context_of(job),
        "max_num_seqs": SEQUENCES,
        "max_num_batched_tokens": BATCHED_TOKENS,
        "enable_chunked_prefill": True,
        "enable_prefix_caching": True,
        "block_size": BLOCK,
        "num_gpu_blocks_override": BLOCKS,
    }
    return make_arguments(job, folder_of(job, architecture), defaults)


def context_of(job: Job) -> int:
    """Return the length that requests may have; a real model may allow less than the tiny ones."""
    if job.model is None:
        return CONTEXT
    config = json.loads((Path(job.model) / "config.json").read_text(encoding="utf-8"))
    return min(CONTEXT, int(config.get("max_position_embeddings") or CONTEXT))


def context_of_engine(llm: LLM) -> int:
    """Return the length that requests may have."""
    return int(llm.llm_engine.model_config.max_model_len)


def prompt_of(case: Case) -> Any:
    """Return the engine's prompt, as token ids."""
    return {"prompt_token_ids": list(case.prompt_ids)}


def greedy(case: Case, **fields: Any) -> SamplingParams:
    """Return greedy parameters for a case."""
    from vllm import SamplingParams

    return SamplingParams(**{"temperature": 0.0, "max_tokens": case.max_tokens, **fields})
