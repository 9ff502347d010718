"""The tables of docs/performance.md are those of the JSON that they name."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "performance.md").read_text(encoding="utf-8")
# Of an image of 64x64: its tokens after IMG, and the steps of one position, in which its last
# two come with their neighbours.
POSITIONS, SINGLE_STEPS = 64 * 65, 4098


def report(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / "performance" / name).read_text(encoding="utf-8"))
    return loaded


def table(header: str) -> list[list[str]]:
    """The cells of the one table that has this header, without it."""
    _, _, rest = PAGE.partition(header)
    assert header not in rest
    lines = takewhile(lambda line: line.startswith("|"), rest.splitlines()[2:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def step_times(name: str) -> dict[tuple[int, int], float]:
    """Milliseconds by images and window."""
    return {(s["images"], s["window"]): s["ms"] for s in report(name)["steps"]}


@pytest.fixture(scope="module")
def step_ms() -> dict[tuple[int, int], float]:
    return step_times("h200-window-full.json")


@pytest.mark.parametrize(
    ("header", "name"),
    [("window", "h200-window-full.json"), ("window, default graphs", "h200-window.json")],
)
def test_steps_by_window(header: str, name: str) -> None:
    step_ms = step_times(name)
    rows = table(f"| {header} | 1 image | 2 images | 4 images | 8 images |")
    assert [int(row[0]) for row in rows] == sorted({window for _, window in step_ms})
    for window, *cells in rows:
        for images, cell in zip((1, 2, 4, 8), cells, strict=True):
            ms = step_ms.get((images, int(window)))
            if ms is None:
                assert cell == "-"
                continue
            time, _, ratio = cell.partition(" ")
            assert float(time) == pytest.approx(ms, abs=0.00501)
            assert ratio == ("" if window == "1" else f"({ms / step_ms[images, 1]:.2f})")


def mean_tokens(window: int, chance: float) -> float:
    """Tokens a step where each draft is right with this chance, whatever the others are."""
    return sum(chance**right for right in range(window))


def test_times_of_an_image_by_acceptance(step_ms: dict[tuple[int, int], float]) -> None:
    header = "| window | break-even, a | a = 0.25 | 0.5 | 0.7 | 0.8 | 0.9 |"
    single = step_ms[1, 1]
    first, *rows = table(header)
    assert first[0] == f"1 ({SINGLE_STEPS:,} steps)"
    assert set(first[2:]) == {f"{SINGLE_STEPS * single / 1000:.1f} s"}
    assert len(rows) == 4
    for name, even, *cells in rows:
        window, ms = int(name), step_ms[1, int(name)]
        chance = float(even)
        assert mean_tokens(window, chance - 6e-4) < ms / single < mean_tokens(window, chance + 6e-4)
        for a, cell in zip((0.25, 0.5, 0.7, 0.8, 0.9), cells, strict=True):
            assert cell == f"{POSITIONS * ms / mean_tokens(window, a) / 1000:.1f} s"


def test_tokens_a_step_of_the_small_model(step_ms: dict[tuple[int, int], float]) -> None:
    """And what such a token would cost beside the steps above."""
    results = {(r["drafts"], r["window"]): r for r in report("acceptance.json")["results"]}
    windows = (2, 4, 8, 16, 32)
    rows = {cells[0]: cells[1:] for cells in table("| drafts | window 2 | 4 | 8 | 16 | 32 |")}
    for name, cells in rows.items():
        kind = name.split(":")[0].removeprefix("always ")
        if kind in {kind for kind, _ in results}:
            means = [results[kind, window]["tokens_a_step"] for window in windows]
            assert cells == [f"{mean:.2f}" for mean in means]
    shifted = [results["shifted", window] for window in windows]
    assert rows["its slowest and fastest seed"] == [
        f"{r['least']:.2f}, {r['most']:.2f}" for r in shifted
    ]
    costs = [step_ms[1, w] / r["tokens_a_step"] for w, r in zip(windows, shifted, strict=True)]
    assert rows["a token at the first row's, ms"] == [f"{ms:.2f}" for ms in costs]


def test_results_come_first_and_history_below() -> None:
    """Whatever is held against a goal, or is of the latest versions, stands above."""
    results, history = PAGE.split("\n## History and background\n")
    assert re.findall(r"(?m)^## ", history) == []
    assert re.search(r"(?m)^\|.*\bgoal\b", history) is None
    newest = max(int(version) for version in re.findall(r"0\.11\.0\+emu3\.5\.(\d+)", PAGE))
    assert f"0.11.0+emu3.5.{newest}" in results
    assert f"0.11.0+emu3.5.{newest}" not in history
    first = results[results.index("\n## ") :].partition("\n## ")[2].partition("\n## ")[0]
    assert "| goal |" in first
