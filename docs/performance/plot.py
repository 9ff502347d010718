# /// script
# requires-python = ">=3.10"
# dependencies = ["matplotlib==3.10.7"]
# ///
"""Draw docs/performance/*.svg from the JSON that `vllm-patchkit bench generate` and
tests/bench/acceptance write.

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
# Each stands out against a white page and a dark one, 3:1 at least.
COLOURS = ["#1f77b4", "#d95f02", "#2ca02c", "#d62728"]
matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=COLOURS)
# By the number of GPUs.
PUBLIC_STEP_MS = {1: {1: 22.4, 8: 25.1, 32: 35.1}, 2: {1: 14.1}}
PUBLIC_TOKENS_PER_S = {1: {1: 44.7, 8: 319.0, 32: 910.0}, 2: {1: 71.0}}


DARK = """<style>@media (prefers-color-scheme: dark) {
  text { fill: #e3e7ef !important }
  [style*="fill: #ffffff"] { fill: #14171d !important }
  [style*="stroke: #000000"] { stroke: #e3e7ef !important }
  [style*="stroke: #b0b0b0"] { stroke: #4a5262 !important }
}</style>"""


# Of a right draft.
CHANCES = [percent / 100 for percent in range(100)]


def mean_tokens(window: int) -> list[float]:
    """Return the mean tokens a step for each chance that a draft is right."""
    return [sum(chance**n for n in range(window)) for chance in CHANCES]


def style_of(points: int, mark: str, line: str) -> str:
    """Return matplotlib's format: two points are two measurements and no curve."""
    return mark + line if points > 2 else mark


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw step time and image tokens/s over the number of images."""
    results = report["results"]
    gpus = report["options"]["tensor_parallel_size"]
    images = [result["images"] for result in results]
    floor = report["floor"]["floor_ms"]
    plain = [1000 * r["images"] / r["plain_token_ms"] for r in results]
    step = {
        "guided, this stack": ("o", "-", images, [r["guided_step_ms"] for r in results]),
        "2N plain sequences": ("s", "--", images, [r["plain_step_ms"] for r in results]),
        "public patches": ("^", ":", *zip(*PUBLIC_STEP_MS[gpus].items(), strict=True)),
    }
    rate = {
        "guided, this stack": ("o", "-", images, [r["image_tokens_per_s"] for r in results]),
        "2N plain sequences": ("s", "--", images, plain),
        "public patches": ("^", ":", *zip(*PUBLIC_TOKENS_PER_S[gpus].items(), strict=True)),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for axes, curves in ((left, step), (right, rate)):
        for label, (mark, line, x, y) in curves.items():
            axes.plot(x, y, style_of(len(x), mark, line), label=label)
        axes.set(xlabel="images at once", xticks=images, xlim=(-1, max(images) * 1.06 + 1))
        axes.grid(alpha=0.3)
    left.axhline(floor, color="grey", lw=1, label=f"reading the weights, {floor:.1f} ms")
    left.set(title="Time of a step", ylabel="milliseconds")
    right.plot(
        images, [1000 * n / floor for n in images], color="grey", lw=1, label="reading the weights"
    )
    right.set(title="Throughput", ylabel="image tokens a second")
    for axes in (left, right):
        axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
        axes.legend(fontsize="small")
    cards = f"{gpus} GPU{'s' if gpus > 1 else ''}"
    save(figure, f"Emu3.5, 34 B, {size_of(report)} visual tokens an image, {cards}", path)


def draw_staggers(report: dict[str, Any], path: Path) -> None:
    """Draw the time of a step and of a token, for images begun at once and out of step."""
    floor = report["floor"]["floor_ms"]
    kinds = {
        "a step, guided": ("o", "-", "guided_step_ms"),
        "a step, 2N plain sequences": ("s", "--", "plain_step_ms"),
        "a token, guided": ("^", ":", "guided_token_ms"),
    }
    figure, both = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained", sharey=True)
    for axes, stagger in zip(both, report["options"]["staggers"], strict=True):
        results = [r for r in report["results"] if r["stagger"] == stagger]
        images = [r["images"] for r in results]
        for label, (mark, line, key) in kinds.items():
            axes.plot(images, [r[key] for r in results], style_of(len(images), mark, line),
                      label=label)  # fmt: skip
        axes.axhline(floor, color="grey", lw=1, label=f"reading the weights, {floor:.1f} ms")
        axes.set(xlabel="images at once", xticks=images, xlim=(-1, max(images) * 1.06 + 1))
        axes.set_title(f"{stagger} steps apart" if stagger else "Begun at once")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="lower right")
    both[0].set(ylabel="milliseconds")
    both[0].set_ylim(0, both[0].get_ylim()[1] * 1.12)
    card = report["versions"]["gpu"].split()[1]
    save(figure, f"Emu3.5, 34 B, {size_of(report)}, one {card}, async scheduling", path)


def draw_windows(report: dict[str, Any], path: Path) -> None:
    """Draw the time of a step by window, and that of a 64x64 image over the chance of a draft."""
    steps = report["steps"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for images, style in {1: "o-", 2: "s--", 4: "^:", 8: "v-."}.items():
        rows = [s for s in steps if s["images"] == images]
        label = f"{images} image{'s' if images > 1 else ''}"
        left.plot([s["window"] for s in rows], [s["ms"] for s in rows], style, label=label)
    windows = sorted({s["window"] for s in steps})
    left.set(title="Time of a step", xlabel="window", ylabel="milliseconds", ylim=(0, None))
    left.set_xscale("log", base=2)
    left.set_xticks(windows, [str(window) for window in windows])
    single = {s["window"]: s["ms"] for s in steps if s["images"] == 1}
    for window in (8, 16, 32, 64):
        means = mean_tokens(window)
        right.plot(CHANCES, [4160 * single[window] / 1000 / mean for mean in means],
                   label=f"window {window}")  # fmt: skip
    right.axhline(4098 * single[1] / 1000, color="grey", lw=1, label="window 1")
    right.set(title="Arithmetic: one image of 64x64", xlabel="chance of a right draft",
              ylabel="seconds", ylim=(0, None))  # fmt: skip
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    save(figure, "Several positions a step, Emu3.5, 34 B, one H200, full graphs", path)


def draw_acceptance(report: dict[str, Any], cost: dict[str, Any], path: Path) -> None:
    """Draw tokens a step by window, beside those at which a step of one image pays."""
    results = report["results"]
    figure, axes = plt.subplots(figsize=(6, 4.6), layout="constrained")
    windows = sorted({result["window"] for result in results})
    for kind, style in {"shifted": "o-", "above": "s--", "random": "^:"}.items():
        means = [result["tokens_a_step"] for result in results if result["drafts"] == kind]
        axes.plot(windows, means, style, label=f"drafts: {kind}")
    single = {s["window"]: s["ms"] for s in cost["steps"] if s["images"] == 1}
    even = [single[window] / single[1] for window in windows]
    axes.plot(windows, even, color="grey", lw=1, label="break-even of one image")
    axes.set(title="Tokens a step of a small model", xlabel="window", ylim=(0, None))
    axes.set_xscale("log", base=2)
    axes.set_xticks(windows, [str(window) for window in windows])
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    save(figure, "Several tokens a step: a demonstration", path)


def size_of(report: dict[str, Any]) -> str:
    """Return the size of an image as a page writes it."""
    return "x".join(map(str, report["options"]["size"]))


def save(figure: Any, title: str, path: Path) -> None:
    """Write a figure as SVG that a dark page can show."""
    figure.suptitle(title)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    picture = path.read_text(encoding="utf-8")
    path.write_text(picture.replace("<defs>", f"{DARK}\n <defs>", 1), encoding="utf-8")


def read(name: str) -> dict[str, Any]:
    """Return a report that lies beside this file."""
    report: dict[str, Any] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return report


def main() -> None:
    """Draw every measurement that has more than one figure."""
    for name in ("h200", "h200-two-gpus"):
        draw(read(f"{name}.json"), HERE / f"{name}.svg")
    for name in ("h200-async", "h100-async"):
        draw_staggers(read(f"{name}.json"), HERE / f"{name}.svg")
    window = read("h200-window-full.json")
    draw_windows(window, HERE / "h200-window.svg")
    draw_acceptance(read("acceptance.json"), window, HERE / "acceptance.svg")


if __name__ == "__main__":
    main()
