"""Tokens a step of several positions at once, with a small model trained on two photographs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from timing import Row

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[1] / "build" / "env-cpu" / "bin" / "python"
# A step of the window commits at least its first token; what one costs on a GPU is arithmetic.
GOAL = 1.0


def measure(work: Path, stack: str) -> Iterator[Row]:
    """Decode grids by each window, and fail where one is not the grid of single steps."""
    report = work / "acceptance.json"
    subprocess.run(
        [PYTHON, HERE / "acceptance", "--out", report], check=True, stdout=subprocess.DEVNULL
    )
    for result in json.loads(report.read_text(encoding="utf-8"))["results"]:
        if result["drafts"] == "shifted":
            yield Row(
                name=f"acceptance, window {result['window']}",
                ours=f"{result['tokens_a_step']:.2f} a step",
                peer="1 token a step, the same tokens",
                ratio=result["tokens_a_step"],
                goal=GOAL,
                kind="at_least",
            )
