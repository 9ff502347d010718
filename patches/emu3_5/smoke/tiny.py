"""A tiny Emu3.5 checkpoint with random, seeded weights: everything the engine reads, in one folder.

Its shape takes every path of the block: more query than key heads, a query width unlike the hidden
size, an odd vocabulary (so that the LM head is padded), norms that are not all one. Head counts are
even, so that two tensor-parallel ranks can share it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .vocabulary import SPECIAL_TEXTS, Vocabulary, byte_characters, tiny_vocabulary, visual_text

if TYPE_CHECKING:
    import torch

SEED = 20251020
VISUAL_COUNT = 128
CONTEXT = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How far random weights spread; matrices by the square root of their inputs."""

    embeddings: float
    matrices: float
    head: float
    norms: float
    dtype: str


# The output depends on the whole prompt, and the best choice is well ahead of the next.
SHARP = Spread(embeddings=0.5, matrices=1.5, head=3.0, norms=0.2, dtype="float32")
# Rounding errors grow little on their way, as in a trained network; values that bfloat16 holds.
CALM = Spread(embeddings=1.0, matrices=0.7, head=0.7, norms=0.1, dtype="bfloat16")
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "hidden_act": "silu",
    "attention_bias": False,
    "tie_word_embeddings": False,
}


def write_checkpoint(folder: Path, seed: int = SEED, spread: Spread = SHARP) -> Vocabulary:
    """Write configuration, weights and tokenizer to ``folder``; return the vocabulary."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_vocabulary(VISUAL_COUNT)
    config = {**make_config(vocabulary), "torch_dtype": spread.dtype}
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json",
        {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    _write_json(folder / "tokenizer.json", make_tokenizer(vocabulary))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    save_file(make_weights(config, seed, spread), folder / "model.safetensors", {"format": "pt"})
    return vocabulary


def make_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return ``config.json``: the published fields, in the tiny shape."""
    names = ("pad", "bos", "eos", "boi", "img", "eol", "eoi", "eof")
    return {
        "architectures": ["Emu3ForCausalLM"],
        "model_type": "Emu3",
        **SHAPE,
        **{f"{name}_token_id": vocabulary.special[name] for name in names},
        "vocab_size": vocabulary.visual_offset + vocabulary.visual_count,
        "visual_token_offset": vocabulary.visual_offset,
        "visual_vocab_size": vocabulary.visual_count,
        "size_token_ids": dict(vocabulary.size_ids),
        "image_area": 24 * 256,
    }


def weight_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every weight, by the names of the published checkpoints."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    layer = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "self_attn.q_norm": (config["head_dim"],),
        "self_attn.k_norm": (config["head_dim"],),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (config["vocab_size"], hidden)}
    for number in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    shapes |= {"model.norm": (hidden,), "lm_head": (config["vocab_size"], hidden)}
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def make_weights(config: dict[str, Any], seed: int, spread: Spread) -> dict[str, torch.Tensor]:
    """Return the weights, drawn in float32 in the order of their names."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in weight_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            weights[name] = 1.0 + spread.norms * noise
        elif name == "model.embed_tokens.weight":
            weights[name] = spread.embeddings * noise
        else:
            gain = spread.head if name == "lm_head.weight" else spread.matrices
            weights[name] = noise * (gain / shape[1] ** 0.5)
    dtype = getattr(torch, spread.dtype)
    return {name: weight.to(dtype) for name, weight in weights.items()}


def make_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return ``tokenizer.json``: a byte-level BPE without merges, and the added tokens."""
    texts = [(SPECIAL_TEXTS[name], token) for name, token in vocabulary.special.items()]
    texts += [(visual_text(code), token) for code, token in enumerate(vocabulary.visual)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, "content": text, **flags, "special": True} for text, token in texts
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {char: rank for rank, (_, char) in enumerate(byte_characters())},
            "merges": [],
        },
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "bos_token": SPECIAL_TEXTS["bos"],
        "eos_token": SPECIAL_TEXTS["eos"],
        "pad_token": SPECIAL_TEXTS["pad"],
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
