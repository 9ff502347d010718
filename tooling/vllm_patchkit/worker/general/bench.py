"""Steps of plain sequences on a small dense model: what a stack's patches cost everybody else."""

from __future__ import annotations

import os
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import events
from ..engine import make_arguments
from ..job import Job
from ..steps import Measured, Request, Run, measure

if TYPE_CHECKING:
    from vllm import LLM

STAGE = "bench"
PROMPT_TOKENS = 40
ANSWER_TOKENS = 96
# Small enough that a step on a CPU is mostly what the engine does around the matmuls.
SHAPE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 8192,
    "max_position_embeddings": 1024,
    "architectures": ["Qwen3ForCausalLM"],
}


def run(job: Job) -> None:
    """Measure each number of sequences, and report it as soon as it is known."""
    counts, rounds = tuple(job.bench["images"]), int(job.bench["rounds"])
    if job.bench["in_process"]:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    llm = load(job, max(counts))
    measure(Run(llm, make_requests(2, seed=-1)))
    for number in counts:
        runs = [measure(Run(llm, make_requests(number, seed=turn)))[0] for turn in range(rounds)]
        report(number, runs)


def load(job: Job, sequences: int) -> LLM:
    """Return an engine with random weights; its load time is reported."""
    started = time.monotonic()
    events.note(STAGE, "loading plain sequences")
    from vllm import LLM

    # vLLM's cache of compiled code goes by the path: a relative one is the same in every run.
    model = Path(os.path.relpath(write_config(job.scratch / "bench-general")))
    defaults: dict[str, Any] = {
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "dtype": "float32" if job.device == "cpu" else "bfloat16",
        "max_model_len": 256,
        "max_num_seqs": max(sequences, 8),
    }
    if job.device == "cuda":
        defaults["gpu_memory_utilization"] = 0.3
    llm = LLM(**make_arguments(job, model, defaults))
    seconds = round(time.monotonic() - started, 2)
    events.send("bench", kind="load", engine="plain", seconds=seconds)
    return llm


def write_config(folder: Path) -> Path:
    """Write the model's configuration; its weights are dummies."""
    from transformers import Qwen3Config

    Qwen3Config(**SHAPE).save_pretrained(folder)
    return folder


def make_requests(number: int, *, seed: int) -> list[Request]:
    """Return so many requests with other prompts every time, so that no prefix is cached."""
    from vllm import SamplingParams

    draw = random.Random(seed)
    params = SamplingParams(
        temperature=1.0, top_k=50, max_tokens=ANSWER_TOKENS, ignore_eos=True, detokenize=False
    )
    prompts = [[draw.randrange(100, 4000) for _ in range(PROMPT_TOKENS)] for _ in range(number)]
    return [Request({"prompt_token_ids": prompt}, params) for prompt in prompts]


def report(number: int, runs: list[Measured]) -> None:
    """Report the medians over the rounds."""
    events.send(
        "bench",
        kind="general",
        sequences=number,
        step_ms=round(statistics.median(run.step_ms for run in runs), 3),
        rounds_ms=[round(run.step_ms, 3) for run in runs],
        tokens_per_s=round(statistics.median(run.tokens_per_s for run in runs), 2),
    )
