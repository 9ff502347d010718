"""Several tokens a step by shared noise and exact match, in plain PyTorch.

The rule: the noise of a draw belongs to its position, a step computes a window of positions over
drafts, and its draws are committed up to the first that was given a wrong draft. What stands
behind them are the next drafts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from model import GridModel
from torch import Tensor

# Fills in drafts: (sequences, rows' first open position, their number of them, those drawn already)
Drafts = Callable[[Tensor, Tensor, int, Tensor], None]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What a token is drawn from."""

    scale: float
    top_k: int
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Grids of tokens, (rows, positions), and the steps that each took."""

    tokens: Tensor
    steps: Tensor

    @property
    def tokens_a_step(self) -> float:
        return self.tokens.numel() / int(self.steps.sum())


def make_noise(seeds: range, positions: int, vocab_size: int) -> Tensor:
    """Return Gumbel noise by seed, position and token, in float64."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        exponential = torch.empty(positions, vocab_size, dtype=torch.float64)
        rows.append(-exponential.exponential_(generator=generator).log())
    return torch.stack(rows)


@torch.inference_mode()
def decode(
    model: GridModel,
    conditions: Tensor,
    noise: Tensor,
    sampling: Sampling,
    window: int,
    fill: Drafts,
) -> Decoded:
    """Draw a grid for each condition; noise of (rows, positions, vocabulary)."""
    rows, positions = noise.shape[:2]
    every_row = torch.arange(rows)[:, None]
    sequences = torch.zeros(rows, positions + window, dtype=torch.int64)
    done, drawn, steps = (torch.zeros(rows, dtype=torch.int64) for _ in range(3))
    streams = torch.cat([conditions, torch.full_like(conditions, model.no_condition)])
    cache = model.new_cache(2 * rows, window)
    while (running := done < positions).any():
        fill(sequences, done, window - 1, drawn)
        places = done[:, None] + torch.arange(window)
        previous = sequences[every_row, (places - 1).clamp(min=0)]
        logits = model(previous.repeat(2, 1), places.repeat(2, 1), streams, cache)
        scores = _limit(logits, sampling)
        scores += noise[every_row, places.clamp(max=positions - 1)]
        draws = scores.argmax(-1)
        right = draws[:, :-1] == sequences[every_row, places[:, :-1]]
        committed = 1 + right.long().cumprod(1).sum(1)
        sequences[every_row, places] = draws
        drawn = done + window
        done = torch.where(running, done + committed, done).clamp(max=positions)
        steps += running
    return Decoded(tokens=sequences[:, :positions].clone(), steps=steps)


def _limit(logits: Tensor, sampling: Sampling) -> Tensor:
    """Guide the first half of the rows by the second, and keep the top-k."""
    conditional, unconditional = logits.chunk(2)
    scores = unconditional + sampling.scale * (conditional - unconditional)
    scores /= sampling.temperature
    least = scores.topk(sampling.top_k).values[..., -1:]
    return scores.masked_fill(scores < least, -torch.inf)
