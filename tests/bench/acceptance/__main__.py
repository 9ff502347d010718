"""Tokens a step of several positions at once, on a small model trained here on two photographs.

    build/env-cpu/bin/python tests/bench/acceptance [--out FILE] [--seeds N] [--scale SCALE]
        [--dtype float64|float32|bfloat16]

Needs torch and scikit-learn (`make bench` installs both). Every grid has to be the one that is
drawn a token at a time, whatever the drafts are: exit status 1 if one is not. In float64 no
rounding decides between two tokens; with less, some grids may differ.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import drafts
import sklearn
import torch
from decoding import Decoded, Drafts, Sampling, decode, make_noise
from model import GridModel, train
from pictures import Pictures

WINDOWS = (2, 4, 8, 16, 32)
SIZE = 16
VOCAB_SIZE = 256
WIDTH, HEADS, LAYERS = 64, 2, 2
BATCHES, BATCH, LEARNING_RATE, DROPPED = 500, 16, 4e-3, 0.1
# The share of the codes that 5,120 is of Emu3.5's 131,072.
TOP_K = VOCAB_SIZE * 5120 // 131_072
DTYPES = ("float64", "float32", "bfloat16")


def main() -> int:
    """Train, decode with every window and kind of draft, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--seeds", type=int, default=36, help="grids to draw (default: 36)")
    parser.add_argument("--scale", type=float, default=5.0, help="of guidance (default: 5)")
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help="of the decoding")
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds {args.seeds}: at least 1")
    if args.out and not args.out.parent.is_dir():
        parser.error(f"--out {args.out}: there is no folder {args.out.parent}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = Pictures.load(VOCAB_SIZE)
    model, training = make_model(pictures)
    print(f"nats a token: {training['loss']:.2f} trained, {training['unigram']:.2f} by frequency")
    model = model.to(getattr(torch, args.dtype)).eval()
    conditions = torch.arange(args.seeds) % pictures.num_conditions
    results = list(measure(model, conditions, Sampling(scale=args.scale, top_k=TOP_K)))
    if args.out:
        report = report_of(vars(args), training, results)
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if any(result["seeds_that_differ"] for result in results) else 0


def make_model(pictures: Pictures) -> tuple[GridModel, dict[str, float]]:
    """Train a model, and return with it how that went."""
    generator = torch.Generator().manual_seed(0)
    batches = [pictures.crops(SIZE, BATCH, generator) for _ in range(BATCHES)]
    model = GridModel(
        vocab_size=VOCAB_SIZE, conditions=pictures.num_conditions, size=SIZE,
        width=WIDTH, heads=HEADS, layers=LAYERS,
    )  # fmt: skip
    start = time.perf_counter()
    loss = train(model, batches, learning_rate=LEARNING_RATE, dropped=DROPPED, generator=generator)
    seconds = time.perf_counter() - start
    counts = torch.bincount(torch.cat([grids.flatten() for grids, _ in batches])).double()
    shares = counts[counts > 0] / counts.sum()
    unigram = -(shares * shares.log()).sum().item()
    return model, {"loss": loss, "unigram": unigram, "training_s": seconds}


def measure(
    model: GridModel, conditions: torch.Tensor, sampling: Sampling
) -> Iterator[dict[str, Any]]:
    """Decode one token at a time, then by each kind of draft, and yield what each run gave."""
    noise = make_noise(range(len(conditions)), SIZE**2, VOCAB_SIZE)

    def run(window: int, fill: Drafts) -> Decoded:
        return decode(model, conditions, noise, sampling, window, fill)

    one = run(1, drafts.above(SIZE))
    wrong = (one.tokens + 1) % VOCAB_SIZE
    kinds: dict[str, Callable[[], Drafts]] = {
        "shifted": lambda: drafts.shifted(SIZE),
        "above": lambda: drafts.above(SIZE),
        "random": lambda: drafts.random(VOCAB_SIZE),
        "wrong": lambda: drafts.known(wrong),
        "right": lambda: drafts.known(one.tokens),
    }
    print(f"{'drafts':<8}", *(f"{window:>6}" for window in WINDOWS), " tokens a step by window")
    for kind, make in kinds.items():
        print(f"{kind:<8}", end="", flush=True)
        for window in WINDOWS:
            decoded = run(window, make())
            differ = (decoded.tokens != one.tokens).any(1).nonzero().flatten().tolist()
            print(f" {decoded.tokens_a_step:>6.2f}", end="", flush=True)
            if differ:
                print(f"\nwindow {window}, {kind} drafts: other tokens with seeds {differ}")
            yield {
                "drafts": kind,
                "window": window,
                "tokens_a_step": round(decoded.tokens_a_step, 4),
                "least": round(SIZE**2 / int(decoded.steps.max()), 4),
                "most": round(SIZE**2 / int(decoded.steps.min()), 4),
                "seeds_that_differ": differ,
            }
        print()


def report_of(
    options: dict[str, Any], training: dict[str, float], results: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the figures, and what they were measured with."""
    return {
        "format": 2,
        "settings": {
            "grid": [SIZE, SIZE], "vocab_size": VOCAB_SIZE, "temperature": 1.0, "top_k": TOP_K,
            **{name: options[name] for name in ("scale", "seeds", "dtype")},
        },
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "training": {name: round(value, 3) for name, value in training.items()},
        "results": results,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
