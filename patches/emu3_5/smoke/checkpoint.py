"""A small checkpoint with the published vocabulary, for trying the stack without the weights.

Every id is that of the published checkpoints, so that code written for them runs on it unchanged;
the weights are random, so that its images are noise of the asked size. It opens an image after any
text. Run by ``vllm-patchkit checkpoint``; 75 MB.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .tiny import CALM, SEED, SHAPE, make_config, make_tokenizer, make_weights
from .vocabulary import Vocabulary, published_vocabulary, token_texts

VOCABULARY_SIZE = 282_926
CONTEXT = 9216
SMALL = {**SHAPE, "hidden_size": 64, "num_hidden_layers": 1, "max_position_embeddings": CONTEXT}
# One value of every hidden state says "text"; only BOI listens to it.
LOUD = 50.0


def write(folder: Path) -> None:
    """Write configuration, weights and tokenizer to ``folder``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = published_vocabulary({"vocab_size": VOCABULARY_SIZE})
    config = {**make_config(vocabulary), **SMALL, "torch_dtype": CALM.dtype}
    weights = make_weights(config, SEED, CALM)
    weights["model.embed_tokens.weight"][: vocabulary.visual_offset, 0] = LOUD
    weights["lm_head.weight"][:, 0] = 0
    weights["lm_head.weight"][vocabulary.special["boi"], 0] = LOUD
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }
    generation = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, value in (
        ("config.json", config),
        ("generation_config.json", generation),
        ("tokenizer.json", whole_tokenizer(vocabulary)),
        ("tokenizer_config.json", settings),
    ):
        (folder / name).write_text(json.dumps(value) + "\n", encoding="utf-8")


def whole_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return a byte-level tokenizer in which every id up to the last visual token has a text."""
    tokenizer = make_tokenizer(vocabulary)
    words: dict[str, int] = dict(tokenizer["model"]["vocab"])
    texts = {**{token: text for text, token in token_texts(vocabulary).items()}}
    for token in range(len(words), VOCABULARY_SIZE):
        words[texts.get(token, f"<|unused {token}|>")] = token
    tokenizer["model"]["vocab"] = words
    special = set(vocabulary.special.values())
    tokenizer["added_tokens"] = [one for one in tokenizer["added_tokens"] if one["id"] in special]
    return tokenizer
