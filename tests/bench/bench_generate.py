"""Steps of guided images against steps of plain sequences, with a tiny model on the processor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from timing import Row

PYTHON = Path(__file__).resolve().parents[2] / "build" / "env-cpu" / "bin" / "python"
GOAL = 1.05
ROUNDS = "5"


def measure(work: Path, stack: str) -> Iterator[Row]:
    """Measure 1, 8 and 32 images, in turns with 2, 16 and 64 sequences."""
    report = work / "generate.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "vllm_patchkit", "bench", "generate", "--quiet"),
            *("--python", PYTHON),
            *("--images", "1,8,32", "--size", "8x8", "--rounds", ROUNDS),
            *("--timeout", "1800", "--out", report),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for result in json.loads(report.read_text(encoding="utf-8"))["results"]:
        yield Row(
            name=f"step, {result['images']} images",
            ours=f"{result['guided_step_ms']:.2f} ms",
            peer=f"{result['sequences']} plain sequences ({result['plain_step_ms']:.2f} ms)",
            ratio=result["ratio"],
            goal=GOAL,
            kind="at_most",
        )
