"""Stand-ins for models of the hub, in a cache of its layout: a configuration and a tokenizer.

Many of upstream's tests load no weights but name a model all the same. The configurations are those
that the models were published with, as far as the tests ask; the tokenizer knows bytes only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

REVISION = "0" * 40
LLAMA = {
    "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
    "max_position_embeddings": 131072, "rope_theta": 500000.0, "tie_word_embeddings": True,
}  # fmt: skip
QWEN = {
    "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
    "max_position_embeddings": 40960, "rope_theta": 1000000.0, "tie_word_embeddings": True,
}  # fmt: skip
# Name -> transformers' classes by their stem, and what differs from the class's own values.
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "facebook/opt-125m": ("OPT", "OPTForCausalLM", {"word_embed_proj_dim": 768}),
    "gpt2": ("GPT2", "GPT2LMHeadModel", {}),
    "openai-community/gpt2": ("GPT2", "GPT2LMHeadModel", {}),
    "distilbert/distilgpt2": ("GPT2", "GPT2LMHeadModel", {"n_layer": 6}),
    "meta-llama/Llama-3.2-1B": ("Llama", "LlamaForCausalLM", LLAMA),
    "meta-llama/Llama-3.2-1B-Instruct": ("Llama", "LlamaForCausalLM", LLAMA),
    "Qwen/Qwen3-0.6B": ("Qwen3", "Qwen3ForCausalLM", QWEN),
}


def write_hub(hub: Path) -> None:
    """Write every stand-in that this transformers has the class for."""
    import transformers

    tokenizer = make_tokenizer()
    for name, (stem, architecture, fields) in MODELS.items():
        kind = getattr(transformers, f"{stem}Config", None)
        if kind is None:
            continue
        folder = hub / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(REVISION, encoding="ascii")
        kind(**fields, architectures=[architecture], torch_dtype="float16").save_pretrained(
            snapshot
        )
        tokenizer.save_pretrained(snapshot)


def make_tokenizer() -> Any:
    """Return a tokenizer with one token a byte, and one that begins and ends a text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inside = Tokenizer(
        models.BPE(vocab={one: place for place, one in enumerate(letters)}, merges=[])
    )
    inside.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inside.decoder = decoders.ByteLevel()
    inside.add_special_tokens([AddedToken("</s>", special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inside, bos_token="</s>", eos_token="</s>", pad_token="</s>"
    )
