#!/usr/bin/env python3
"""Measure what several image tokens a step cost: measure-window.py OUT [CUDAGRAPH_MODE].

Runs in the interpreter that has the patched vLLM, on one GPU, with the dimensions of Emu3.5 and
random weights (with a small model where there is no GPU, to try it). N guided images at about 2,000
tokens of context take up to L positions in a step; how many drafts such weights accept says nothing
of real ones. Then, whether one image has the same tokens for every L in bfloat16. OUT is written
after every figure.
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
STEPS = 16
# The engine shares it among the images of a batch.
LARGEST = 256
SEEDS = (1, 2, 3, 4)
# Of images that are measured, and of images that are compared.
LARGE, SMALL = 48, 16
ROOT = Path(__file__).resolve().parents[1]


def load(context: int, mode: str | None) -> tuple[Any, Any]:
    """Return the engine and the token ids; without a mode of CUDA graphs in vLLM's own."""
    sys.path.insert(0, str(ROOT / "patches" / "emu3_5"))
    import torch
    from smoke.shapes import full_shape, small_shape
    from vllm import LLM

    is_full = torch.cuda.is_available()
    graphs = {} if mode is None else {"compilation_config": {"cudagraph_mode": mode}}
    shape = full_shape() if is_full else small_shape("float32")
    llm = LLM(
        model=str(shape.write_emu(Path(tempfile.mkdtemp()) / "model")),
        load_format="dummy",
        skip_tokenizer_init=True,
        max_model_len=context + LARGE * (LARGE + 2) + 64,
        enable_prefix_caching=False,
        seed=0,
        additional_config={"image_window": LARGEST},
        **graphs,
        **({"gpu_memory_utilization": 0.92} if is_full else {"max_num_seqs": 16}),
    )
    return llm, shape.vocabulary


def request(v: Any, place: int, window: int, context: int, side: int) -> tuple[Any, Any]:
    """Return the prompts and the parameters of one image."""
    from vllm import SamplingParams

    text = [100 + (place + 7 * i) % 3000 for i in range(context)]
    args = {"guidance_scale": 5.0, "image_window": window, "visual_top_k": 5120}
    args |= {"width": 16 * side, "height": 16 * side, "area": (16 * side) ** 2}
    boi, eoi = v.special["boi"], v.special["eoi"]
    prompt = {"prompt_token_ids": [*text, boi], "uncond_prompt_token_ids": [*text[::-1], boi]}
    params = SamplingParams(
        max_tokens=side * (side + 1) + 8, stop_token_ids=[eoi], detokenize=False,
        temperature=1.0, extra_args=args, seed=place,
    )  # fmt: skip
    return prompt, params


def measure_steps(llm: Any, v: Any, images: int, window: int, context: int) -> dict[str, Any]:
    """Return the median time (ms) of a step of N images, and its tokens an image."""
    import torch

    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    engine, counts = llm.llm_engine, []
    names = [f"{window}-{place}" for place in range(images)]
    for place, name in enumerate(names):
        engine.add_request(name, *request(v, place, window, context, LARGE))
    length = dict.fromkeys(names, 0)

    def step() -> None:
        for output in engine.step():
            length[output.request_id] = len(output.outputs[0].token_ids)

    while min(length.values()) < 12:
        step()
    times = []
    for _ in range(STEPS):
        before = sum(length.values())
        wait()
        started = time.perf_counter()
        step()
        wait()
        times.append(1e3 * (time.perf_counter() - started))
        counts.append((sum(length.values()) - before) / images)
    engine.abort_request(names)
    while engine.has_unfinished_requests():
        engine.step()
    return {"ms": round(statistics.median(times), 3), "tokens": round(statistics.mean(counts), 3)}


def draw(llm: Any, v: Any, seed: int, window: int) -> list[int]:
    """Return the tokens of one image."""
    prompt, params = request(v, seed, window, 24, SMALL)
    (result,) = llm.generate([prompt], params, use_tqdm=False)
    return list(result.outputs[0].token_ids)


def main() -> int:
    """Measure everything, and write it as it comes."""
    import torch

    out, context = Path(sys.argv[1]), 2000 if torch.cuda.is_available() else 200
    mode = sys.argv[2] if len(sys.argv) > 2 else None
    result: dict[str, Any] = {"format": 2, "context": context, "steps": [], "images": []}
    if mode is not None:
        result["cudagraph_mode"] = mode
    if torch.cuda.is_available():
        result["gpu"] = torch.cuda.get_device_name()

    def write(kind: str, **fields: Any) -> None:
        result[kind].append(fields)
        out.write_text(json.dumps(result, indent=1) + "\n")
        print(kind, fields, flush=True)

    llm, v = load(context, mode)
    # The first steps compile kernels.
    measure_steps(llm, v, 1, 2, 24)
    for images in IMAGES:
        for window in (window for window in WINDOWS if window * images <= LARGEST):
            measured = measure_steps(llm, v, images, window, context)
            write("steps", images=images, window=window, **measured)
    for seed in SEEDS:
        expected = draw(llm, v, seed, 1)
        for window in (4, 16, 64):
            tokens = draw(llm, v, seed, window)
            differing = [
                i for i, (a, b) in enumerate(zip(expected, tokens, strict=False)) if a != b
            ]
            write("images", seed=seed, window=window, tokens=len(tokens),
                  first_difference=differing[0] if differing else None)  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
