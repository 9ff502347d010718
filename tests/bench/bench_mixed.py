"""Steps of guided images and plain requests together against steps of plain sequences alone, with a
tiny model on the processor.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from timing import Row

PYTHON = Path(__file__).resolve().parents[2] / "build" / "env-cpu" / "bin" / "python"
GOAL = 1.03
ROUNDS = "5"


def measure(work: Path, stack: str) -> Iterator[Row]:
    """Measure 8 images and 8 requests with top-p 0.9, in turns with 24 such requests."""
    report = work / "mixed.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "vllm_patchkit", "bench", "generate", "--quiet"),
            *("--python", PYTHON),
            *("--images", "8", "--beside", "8", "--top-p", "0.9", "--plain-top-k", "0"),
            *("--size", "8x8", "--rounds", ROUNDS, "--timeout", "1800", "--out", report),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (result,) = json.loads(report.read_text(encoding="utf-8"))["results"]
    yield Row(
        name="step, 8 images, 8 plain",
        ours=f"{result['guided_step_ms']:.2f} ms",
        peer=f"{result['sequences']} plain sequences ({result['plain_step_ms']:.2f} ms)",
        ratio=result["ratio"],
        goal=GOAL,
        kind="at_most",
    )
