"""A small causal transformer over a grid of tokens, with a condition before the first one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Keys and values of the layers, each (rows, heads, positions, width).
Cache = list[tuple[Tensor, Tensor]]


class Block(nn.Module):
    """Attention and MLP, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, positions: Tensor, cache: tuple[Tensor, Tensor] | None) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.norm(x)).chunk(3, dim=-1)
        )
        mask = None
        if cache is not None:
            slots = positions[:, None, :, None].expand_as(key)
            key, value = (
                kept.scatter_(2, slots, new) for kept, new in zip(cache, (key, value), strict=True)
            )
            # What a former step left behind a row's own position is never read.
            mask = torch.arange(key.shape[2]) <= positions[:, None, :, None]
        x = x + self.out(
            functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=mask is None
            )
            .transpose(1, 2)
            .flatten(2)
        )
        return x + self.mlp(self.mlp_norm(x))


class GridModel(nn.Module):
    """Gives the logits of the token at a position from those before it and a condition.

    :param conditions: their number; this number itself stands for "no condition".
    """

    def __init__(
        self, *, vocab_size: int, conditions: int, size: int, width: int, heads: int, layers: int
    ) -> None:
        super().__init__()
        self.size, self.heads, self.no_condition = size, heads, conditions
        self.token = nn.Embedding(vocab_size, width)
        self.condition = nn.Embedding(conditions + 1, width)
        self.row, self.column = nn.Embedding(size, width), nn.Embedding(size, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size)
        for table in (self.token, self.condition, self.row, self.column):
            nn.init.normal_(table.weight, std=0.02 * width**0.5)

    def new_cache(self, rows: int, window: int) -> Cache:
        """Return an empty cache with room for a window behind the last position."""
        weight = self.head.weight
        width = weight.shape[1] // self.heads
        shape = (rows, self.heads, self.size**2 + window, width)
        return [(weight.new_zeros(shape), weight.new_zeros(shape)) for _ in self.blocks]

    def forward(
        self, previous: Tensor, positions: Tensor, conditions: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """Return (rows, positions, vocabulary).

        :param previous: the token before each position; before the first any, as the condition
            stands there.
        """
        first = (positions == 0)[..., None]
        x = torch.where(first, self.condition(conditions)[:, None], self.token(previous))
        cells = positions.clamp(max=self.size**2 - 1)
        x = x + self.row(cells // self.size) + self.column(cells % self.size)
        for number, block in enumerate(self.blocks):
            x = block(x, positions, None if cache is None else cache[number])
        return self.head(self.norm(x))


def train(
    model: GridModel,
    batches: list[tuple[Tensor, Tensor]],
    *,
    learning_rate: float,
    dropped: float,
    generator: torch.Generator,
) -> float:
    """Train on one batch after the other and return the mean loss of the last tenth, in nats.

    :param dropped: the share of crops that are seen without their condition.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=len(batches), pct_start=0.1
    )
    losses = []
    for grids, conditions in batches:
        dropping = torch.rand(len(grids), generator=generator) < dropped
        positions = torch.arange(grids.shape[1]).expand_as(grids)
        logits = model(
            grids.roll(1, 1), positions, conditions.masked_fill(dropping, model.no_condition)
        )
        loss = functional.cross_entropy(logits.flatten(0, 1), grids.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)
