"""Tiny Emu3.5 checkpoints: a small vocabulary with other ids than the published one, seeded
weights, a tokenizer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import save_file


@dataclass(frozen=True)
class Vocabulary:
    """The ids of a checkpoint: control tokens, text, visual tokens, a tail of text."""

    visual_size: int = 128
    text_size: int = 40
    tail_size: int = 0

    pad = 0
    bos = 1
    eos = 2
    star = 13
    boi = 20
    img = 17
    eol = 15
    eoi = 18
    eof = 16
    text_start = 24

    @property
    def visual_start(self) -> int:
        return self.text_start + self.text_size

    @property
    def size(self) -> int:
        return self.visual_start + self.visual_size + self.tail_size

    def digit(self, character: str) -> int:
        return self.star if character == "*" else 3 + int(character)

    def digits(self, size: str) -> list[int]:
        return [self.digit(character) for character in size]

    def header(self, height: int, width: int) -> list[int]:
        """BOI, the size and IMG."""
        return [self.boi, *self.digits(f"{height}*{width}"), self.img]

    def image(self, height: int, width: int, seed: int = 0) -> list[int]:
        """A whole image with random visual tokens, as it stands in a prompt."""
        generator = torch.Generator().manual_seed(seed)
        tokens = self.header(height, width)
        for row in range(height):
            pixels = torch.randint(self.visual_size, (width,), generator=generator)
            tokens += (pixels + self.visual_start).tolist()
            tokens.append(self.eoi if row == height - 1 else self.eol)
        return tokens

    def text(self, length: int, seed: int = 0) -> list[int]:
        """BOS and random text tokens."""
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(self.text_size, (length - 1,), generator=generator)
        return [self.bos, *(tokens + self.text_start).tolist()]

    def config(self) -> dict[str, object]:
        """What `config.json` says of the tokens of images."""
        return {
            "boi_token_id": self.boi,
            "img_token_id": self.img,
            "eol_token_id": self.eol,
            "eoi_token_id": self.eoi,
            "visual_token_offset": self.visual_start,
            "visual_vocab_size": self.visual_size,
            "size_token_ids": {character: self.digit(character) for character in "0123456789*"},
        }

    def hf_config(self, **fields: object) -> SimpleNamespace:
        """The same, with `fields`, as the engine holds it."""
        return SimpleNamespace(**self.config() | fields)

    def is_visual(self, token: int) -> bool:
        return self.visual_start <= token < self.visual_start + self.visual_size

    def words(self) -> dict[str, int]:
        """The text of every token, for the tokenizer."""
        names = {
            self.pad: "<pad>",
            self.bos: "<bos>",
            self.eos: "<eos>",
            self.boi: "<boi>",
            self.img: "<img>",
            self.eol: "<eol>",
            self.eoi: "<eoi>",
            self.eof: "<eof>",
            self.star: "*",
        }
        names |= {self.digit(str(digit)): str(digit) for digit in range(10)}
        for token in range(self.size):
            names.setdefault(token, f"v{token}" if self.is_visual(token) else f"t{token}")
        return {name: token for token, name in names.items()}


@dataclass(frozen=True)
class Shape:
    """The dimensions of a tiny model."""

    hidden: int = 64
    intermediate: int = 96
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    positions: int = 2048


GQA = Shape()
ODD_HEADS = Shape(hidden=48, intermediate=80, layers=3, heads=3, kv_heads=1, head_dim=32)
TWO_WAY = Shape(hidden=64, intermediate=128, layers=4, heads=8, kv_heads=4, head_dim=32)


def make_weights(shape: Shape, vocabulary: Vocabulary, seed: int) -> dict[str, torch.Tensor]:
    """Random weights by their HF names, large enough for attention to matter and for logits to
    differ.
    """
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int, scale: float) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * scale

    def norm(size: int) -> torch.Tensor:
        return 1 + 0.2 * torch.randn(size, generator=generator)

    hidden, inner = shape.hidden, shape.intermediate
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    weights = {"model.embed_tokens.weight": matrix(vocabulary.size, hidden, 1.0)}
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for name, rows, columns in (
            ("self_attn.q_proj", query, hidden),
            ("self_attn.k_proj", key, hidden),
            ("self_attn.v_proj", key, hidden),
            ("self_attn.o_proj", hidden, query),
            ("mlp.gate_proj", inner, hidden),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ):
            weights[f"{prefix}{name}.weight"] = matrix(rows, columns, 1.5 * columns**-0.5)
        for name, size in (
            ("self_attn.q_norm", shape.head_dim),
            ("self_attn.k_norm", shape.head_dim),
            ("input_layernorm", hidden),
            ("post_attention_layernorm", hidden),
        ):
            weights[f"{prefix}{name}.weight"] = norm(size)
    weights["model.norm.weight"] = norm(hidden)
    weights["lm_head.weight"] = matrix(vocabulary.size, hidden, 2 * hidden**-0.5)
    return weights


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, with what is in it."""

    path: Path
    shape: Shape
    vocabulary: Vocabulary
    weights: dict[str, torch.Tensor]

    def __fspath__(self) -> str:
        return str(self.path)


def make_config(shape: Shape, vocabulary: Vocabulary) -> dict[str, object]:
    """The `config.json` of a tiny model. Like the published one, it points to remote code; here
    there is none.
    """
    return {
        "architectures": ["Emu3ForCausalLM"],
        "model_type": "Emu3",
        "auto_map": {
            "AutoConfig": "configuration_emu3.Emu3Config",
            "AutoModelForCausalLM": "modeling_emu3.Emu3ForCausalLM",
        },
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.positions,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vocab_size": vocabulary.size,
        "pad_token_id": vocabulary.pad,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "eof_token_id": vocabulary.eof,
        **vocabulary.config(),
    }


def save_tokenizer(
    words: dict[str, int],
    path: Path,
    *,
    unknown: str,
    bos: str,
    eos: str,
    pad: str,
    special: list[str],
) -> None:
    """Write a tokenizer that splits at spaces and at special tokens, and knows whole words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(words, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        additional_special_tokens=special,
    ).save_pretrained(path)


def make_checkpoint(
    path: Path,
    shape: Shape = GQA,
    vocabulary: Vocabulary | None = None,
    seed: int = 0,
    **overrides: object,
) -> Checkpoint:
    """Write a checkpoint to `path`; `overrides` replace keys of `config.json`, None removes one."""
    vocabulary = vocabulary or Vocabulary()
    path.mkdir(parents=True, exist_ok=True)
    weights = make_weights(shape, vocabulary, seed)
    config = make_config(shape, vocabulary) | overrides
    config = {key: value for key, value in config.items() if value is not None}
    (path / "config.json").write_text(json.dumps(config, indent=1))
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    save_tokenizer(
        vocabulary.words(), path, unknown="<pad>", bos="<bos>", eos="<eos>", pad="<pad>", special=[]
    )
    return Checkpoint(path, shape, vocabulary, weights)


def make_published(path: Path) -> Checkpoint:
    """A tiny model with the published vocabulary and token ids, which opens an image after any
    text.
    """
    size, boi, visual_start, hidden = 282_926, 151_852, 151_854, 32
    shape = Shape(hidden=hidden, intermediate=32, layers=1, heads=2, kv_heads=1, positions=9216)

    class Published(Vocabulary):
        size = 282_926

    weights = make_weights(shape, Published(), seed=1)
    weights["model.embed_tokens.weight"][:visual_start, 0] = 50
    weights["lm_head.weight"][:, 0] = 0
    weights["lm_head.weight"][boi, 0] = 50

    config = make_config(shape, Published()) | {
        "architectures": ["Emu3ForCausalLM"],
        "vocab_size": size,
    }
    config = {
        key: value for key, value in config.items() if not key.endswith(("_token_id", "_token_ids"))
    }
    del config["visual_token_offset"], config["visual_vocab_size"]
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})

    special = {
        "<|endoftext|>": 151643,
        "<|extra_100|>": 151746,
        "<|extra_203|>": 151849,
        "<|extra_204|>": 151850,
    }
    ids = set(special.values())
    words = special | {f"w{token}": token for token in range(size) if token not in ids}
    save_tokenizer(
        words,
        path,
        unknown="w100",
        bos="<|extra_203|>",
        eos="<|extra_204|>",
        pad="<|endoftext|>",
        special=["<|extra_100|>"],
    )
    return Checkpoint(path, shape, Published(), weights)


__all__ = [
    "GQA",
    "ODD_HEADS",
    "TWO_WAY",
    "Checkpoint",
    "Shape",
    "Vocabulary",
    "make_checkpoint",
    "make_published",
]
