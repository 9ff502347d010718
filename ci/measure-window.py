#!/usr/bin/env python3
"""Measure what a step costs whose sequences compute several tokens each: measure-window.py OUT.

Runs in the interpreter that has the patched vLLM, on one GPU. N images of L positions are 2N plain
sequences that compute L tokens of their prompts in a step, at about 2,000 tokens of context, in one
engine with the dimensions of Emu3.5; and, apart from it, the LM head over the visual tokens for 2NL
rows with guidance, top-k and a draw for NL of them. OUT is written after every figure.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
WINDOWS = (1, 2, 4, 8, 16, 32, 64)
IMAGES = (1, 2, 4, 8)
CONTEXT = 2000
STEPS = 12
VISUAL, TOP_K = 131072, 5120
MODEL = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "num_hidden_layers": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 282926,
    "max_position_embeddings": 32768,
    "rope_theta": 1e6,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def load() -> Any:
    """Return the engine."""
    from vllm import LLM

    folder = Path(tempfile.mkdtemp())
    (folder / "config.json").write_text(json.dumps(MODEL))
    return LLM(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="bfloat16",
        max_model_len=4096,
        max_num_seqs=2 * max(IMAGES),
        max_num_batched_tokens=2048,
        enable_prefix_caching=False,
        gpu_memory_utilization=0.92,
        seed=0,
    )


def measure_steps(llm: Any, images: int, window: int) -> float:
    """Return the median time (ms) of a step in which 2N sequences compute L tokens each."""
    import torch
    from vllm import SamplingParams

    engine = llm.llm_engine
    config = engine.engine_core.engine_core.scheduler.scheduler_config
    config.long_prefill_token_threshold = 0
    length = CONTEXT + (window * (STEPS + 4) if window > 1 else 1)
    for place in range(2 * images):
        prompt = [100 + (place + 7 * i) % 3000 for i in range(length)]
        tokens = STEPS + 4 if window == 1 else 1
        params = SamplingParams(max_tokens=tokens, ignore_eos=True, detokenize=False)
        engine.add_request(f"{window}-{place}", {"prompt_token_ids": prompt}, params)
    scheduler = engine.engine_core.engine_core.scheduler
    # The contexts, in as large pieces as fit.
    config.long_prefill_token_threshold = CONTEXT // 4
    for _ in range(1000):
        behind = [r for r in scheduler.requests.values() if r.num_computed_tokens < CONTEXT]
        if not behind:
            break
        engine.step()
    config.long_prefill_token_threshold = window if window > 1 else 0
    times = []
    for _ in range(STEPS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        engine.step()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - started))
    while engine.has_unfinished_requests():
        config.long_prefill_token_threshold = 0
        engine.step()
    return statistics.median(times[2:])


def measure_draws(rows: int) -> float:
    """Return the median time (ms) of the LM head, guidance and a draw for so many positions."""
    import torch

    head = torch.randn(VISUAL, 5120, dtype=torch.bfloat16, device="cuda")
    hidden = torch.randn(2 * rows, 5120, dtype=torch.bfloat16, device="cuda")
    times = []
    for _ in range(8):
        torch.cuda.synchronize()
        started = time.perf_counter()
        logits = torch.nn.functional.linear(hidden, head).float()
        guided = logits[rows:] + 5.0 * (logits[:rows] - logits[rows:])
        largest = guided.topk(TOP_K, sorted=False)[0].amin(-1, keepdim=True)
        guided.masked_fill_(guided < largest, -torch.inf)
        noise = torch.empty_like(guided).exponential_().log_()
        guided.sub_(noise).argmax(-1).tolist()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times[2:])


def main() -> int:
    """Measure everything, and write it as it comes."""
    out = Path(sys.argv[1])
    result: dict[str, Any] = {"format": 1, "context": CONTEXT, "steps": [], "draws": []}

    def write(kind: str, **fields: Any) -> None:
        result[kind].append(fields)
        out.write_text(json.dumps(result, indent=1) + "\n")
        print(kind, fields, flush=True)

    for rows in sorted({images * window for images in IMAGES for window in WINDOWS}):
        write("draws", positions=rows, ms=round(measure_draws(rows), 3))
    llm = load()
    for images in IMAGES:
        for window in WINDOWS:
            ms = measure_steps(llm, images, window)
            write("steps", images=images, window=window, ms=round(ms, 3))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
