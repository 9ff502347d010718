"""The arithmetic that docs/performance.md does on the design's figures."""

from __future__ import annotations

import runpy
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).parents[1] / "bench" / "acceptance" / "step_cost.py"


@pytest.fixture(scope="module")
def cost() -> dict[str, Any]:
    return runpy.run_path(str(MODULE))


@pytest.mark.parametrize(
    ("window", "ms"), [(1, 26.5), (2, 28.7), (4, 28.7), (8, 29.2), (16, 29.0), (32, 32.0)]
)
def test_a_step_of_two_streams_costs_what_the_design_says(
    cost: dict[str, Any], window: int, ms: float
) -> None:
    """Four tokens were not measured: a window of two counts as eight tokens."""
    assert cost["step_ms"](window) == ms


def test_a_window_beyond_the_figures_is_refused(cost: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no figure for 66 tokens in a step, the most is 64"):
        cost["step_ms"](33)


@pytest.mark.parametrize("window", [1, 2, 5, 32])
def test_tokens_a_step_is_the_expectation(cost: dict[str, Any], window: int) -> None:
    """The sum over every number of right drafts before the first wrong one."""
    chance = Fraction(3, 7)
    ends = [chance**right * (1 - chance) for right in range(window - 1)]
    ends.append(chance ** (window - 1))
    assert sum(ends) == 1
    expected = sum((right + 1) * end for right, end in enumerate(ends))
    assert cost["tokens_a_step"](window, chance) == expected
    assert cost["tokens_a_step"](window, 0) == 1
    assert cost["tokens_a_step"](window, 1) == window


def test_the_design_says_what_many_tokens_gain(cost: dict[str, Any]) -> None:
    """A window of 32 costs 1.21 of a step; 2.3 tokens a step are 1.9x, 3.5 are 2.9x."""
    assert cost["break_even"](32) == pytest.approx(1.21, abs=0.005)
    for tokens, gain in ((2.3, 1.9), (3.5, 2.9)):
        assert 26.5 / cost["token_ms"](32, tokens) == pytest.approx(gain, abs=0.05)


@pytest.mark.parametrize("window", [2, 4, 8, 16, 32])
def test_at_break_even_a_token_costs_a_step_of_one(cost: dict[str, Any], window: int) -> None:
    tokens = cost["tokens_a_step"](window, cost["break_even_acceptance"](window))
    assert cost["token_ms"](window, tokens) == pytest.approx(26.5)
