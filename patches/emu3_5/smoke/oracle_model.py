"""The oracle's network: the published block in plain PyTorch, without a cache.

Written from the description of the model alone (RMSNorm, grouped attention without biases, RMSNorm
over each head of q and k before the rotary embedding, SwiGLU, untied head). It shares no code with
the engine, and recomputes the whole sequence for every token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class OracleModel:
    """Weights by name, and the numbers of ``config.json``."""

    config: dict[str, Any]
    weights: dict[str, torch.Tensor]

    @classmethod
    def read(cls, folder: Path, dtype: str = "float32") -> OracleModel:
        """Read a checkpoint, to compute in ``dtype``."""
        import torch
        from safetensors.torch import load_file

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
        kind = getattr(torch, dtype)
        return cls(config=config, weights={name: w.to(kind) for name, w in weights.items()})

    def logits(self, tokens: Sequence[int]) -> torch.Tensor:
        """Return the logits (vocabulary,) that follow the last of ``tokens``.

        At least float32: in lower precision they are computed so, and then widened.
        """
        import torch

        with torch.no_grad():
            hidden = self.weights["model.embed_tokens.weight"][torch.tensor(tokens)]
            for number in range(self.config["num_hidden_layers"]):
                hidden = self._layer(hidden, f"model.layers.{number}")
            last = self._norm(hidden[-1], "model.norm")
            logits = self.weights["lm_head.weight"] @ last
            return logits if logits.dtype == torch.float64 else logits.float()

    def _layer(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        hidden = hidden + self._attention(self._norm(hidden, f"{name}.input_layernorm"), name)
        return hidden + self._mlp(self._norm(hidden, f"{name}.post_attention_layernorm"), name)

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        mean_square = (x * x).mean(dim=-1, keepdim=True)
        scaled = x / (mean_square + self.config["rms_norm_eps"]).sqrt()
        return scaled * self.weights[f"{name}.weight"]

    def _mlp(self, x: torch.Tensor, name: str) -> torch.Tensor:
        import torch

        gate = torch.nn.functional.silu(self._linear(x, f"{name}.mlp.gate_proj"))
        return self._linear(gate * self._linear(x, f"{name}.mlp.up_proj"), f"{name}.mlp.down_proj")

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T

    def _attention(self, x: torch.Tensor, name: str) -> torch.Tensor:
        import torch

        length, width = x.shape[0], self.config["head_dim"]
        query, key, value = (
            self._linear(x, f"{name}.self_attn.{kind}_proj").view(length, -1, width)
            for kind in "qkv"
        )
        query = self._rotate(self._norm(query, f"{name}.self_attn.q_norm"))
        key = self._rotate(self._norm(key, f"{name}.self_attn.k_norm"))
        sharing = query.shape[1] // key.shape[1]
        key, value = (heads.repeat_interleave(sharing, dim=1) for heads in (key, value))
        scores = torch.einsum("qhd,khd->hqk", query, key) / width**0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
        mixed = torch.einsum("hqk,khd->qhd", weights, value).reshape(length, -1)
        return self._linear(mixed, f"{name}.self_attn.o_proj")

    def _rotate(self, heads: torch.Tensor) -> torch.Tensor:
        """Rotate pairs (i, i + half) of each head by position * theta^(-2i / width)."""
        import torch

        length, _, width = heads.shape
        half = width // 2
        powers = torch.arange(half, dtype=torch.float64) * 2 / width
        angles = torch.arange(length, dtype=torch.float64)[:, None] * (
            float(self.config["rope_theta"]) ** -powers
        )
        cos, sin = (part.to(heads.dtype)[:, None, :] for part in (angles.cos(), angles.sin()))
        low, high = heads[..., :half], heads[..., half:]
        return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)
