"""Model shapes of the benchmark: Emu3.5 and, with the same dimensions, a plain Qwen3."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .vocabulary import PUBLISHED_IDS, PUBLISHED_VISUAL_OFFSET, Vocabulary, published_vocabulary

FULL: dict[str, Any] = {
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "num_hidden_layers": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 282926,
    "max_position_embeddings": 32768,
}
# Small enough that a step on a CPU is mostly what the engine does around the matmuls.
SMALL: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": PUBLISHED_VISUAL_OFFSET // 32 + 4096,
    "max_position_embeddings": 8192,
}
COMMON: dict[str, Any] = {
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "hidden_act": "silu",
    "attention_bias": False,
    "tie_word_embeddings": False,
}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Dimensions, and the fields that tell Emu3.5's tokens apart."""

    dimensions: dict[str, Any]
    emu_fields: dict[str, Any]
    dtype: str

    @property
    def vocabulary(self) -> Vocabulary:
        """The token ids of this shape."""
        return published_vocabulary({**self.dimensions, **self.emu_fields})

    def layer_parameters(self) -> int:
        """Return the number of weights in all matmuls of the layers."""
        dims = self.dimensions
        heads = 2 * dims["num_attention_heads"] + 2 * dims["num_key_value_heads"]
        attention = dims["hidden_size"] * heads * dims["head_dim"]
        mlp = 3 * dims["hidden_size"] * dims["intermediate_size"]
        return int(dims["num_hidden_layers"] * (attention + mlp))

    def bytes_read(self, quantization: str | None, ranks: int) -> int:
        """Return the bytes of weights that one rank reads in one step.

        All matmuls and the LM head; of the embeddings a step reads a few rows only.
        """
        width = BYTES[self.dtype]
        layers = self.layer_parameters() * (1 if quantization == "fp8" else width)
        head = self.dimensions["hidden_size"] * self.dimensions["vocab_size"] * width
        return int((layers + head) // ranks)

    def write_emu(self, folder: Path) -> Path:
        """Write ``config.json`` of the Emu3.5 model; the weights are dummies."""
        names = {"architectures": ["Emu3ForCausalLM"], "model_type": "Emu3"}
        return self._write(folder, {**names, **self.emu_fields})

    def write_plain(self, folder: Path) -> Path:
        """Write ``config.json`` of the Qwen3 model of the same dimensions."""
        fields = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
        return self._write(folder, {**fields, "bos_token_id": 1, "eos_token_id": 2})

    def _write(self, folder: Path, fields: dict[str, Any]) -> Path:
        folder.mkdir(parents=True)
        config = {**COMMON, **self.dimensions, **fields, "torch_dtype": self.dtype}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder


def full_shape() -> Shape:
    """Return the published 34 B shape in bfloat16."""
    fields = {f"{name}_token_id": token for name, token in PUBLISHED_IDS.items() if name != "tms"}
    return Shape(dimensions=FULL, emu_fields=fields, dtype="bfloat16")


def small_shape(dtype: str) -> Shape:
    """Return the shape for a CPU, its special tokens just below its visual ones."""
    offset = PUBLISHED_VISUAL_OFFSET // 32
    ids = {
        name: offset - (PUBLISHED_VISUAL_OFFSET - token)
        for name, token in PUBLISHED_IDS.items()
        if name != "tms"
    }
    fields: dict[str, Any] = {f"{name}_token_id": token for name, token in ids.items()}
    return Shape(
        dimensions=SMALL, emu_fields={**fields, "visual_token_offset": offset}, dtype=dtype
    )
