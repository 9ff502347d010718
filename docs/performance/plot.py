# /// script
# requires-python = ">=3.10"
# dependencies = ["matplotlib==3.10.7"]
# ///
"""Draw docs/performance/h200*.svg from the JSON that `vllm-patchkit bench generate` writes.

    uv run docs/performance/plot.py

The public patches' figures (34 B dimensions, bf16, 16x16 images, top-k 5120) are quoted in
docs/performance.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "vllm-patchkit"
matplotlib.rcParams["svg.fonttype"] = "none"

import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).parent
# By the number of GPUs.
PUBLIC_STEP_MS = {1: {1: 22.4, 8: 25.1, 32: 35.1}, 2: {1: 14.1}}
PUBLIC_TOKENS_PER_S = {1: {1: 44.7, 8: 319.0, 32: 910.0}, 2: {1: 71.0}}


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw step time and image tokens/s over the number of images."""
    results = report["results"]
    gpus = report["options"]["tensor_parallel_size"]
    images = [result["images"] for result in results]
    floor = report["floor"]["floor_ms"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.plot(images, [r["guided_step_ms"] for r in results], "o-", label="guided, this stack")
    left.plot(images, [r["plain_step_ms"] for r in results], "s--", label="2N plain sequences")
    left.plot(*zip(*PUBLIC_STEP_MS[gpus].items(), strict=True), "^:", label="public patches")
    left.axhline(floor, color="grey", lw=1, label=f"reading the weights, {floor:.1f} ms")
    left.set(ylabel="milliseconds a step", ylim=(0, None))
    right.plot(images, [r["image_tokens_per_s"] for r in results], "o-")
    plain = [1000 * r["images"] / r["plain_token_ms"] for r in results]
    right.plot(images, plain, "s--")
    right.plot(*zip(*PUBLIC_TOKENS_PER_S[gpus].items(), strict=True), "^:")
    right.plot(images, [1000 * n / floor for n in images], color="grey", lw=1)
    right.set(ylabel="image tokens a second", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="images at once", xticks=images)
        axes.grid(alpha=0.3)
    left.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw every measurement of several numbers of images that lies beside this file."""
    for path in sorted(HERE.glob("h200*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if len(report["results"]) > 1:
            draw(report, path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
