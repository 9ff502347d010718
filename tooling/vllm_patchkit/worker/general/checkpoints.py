"""Tiny random checkpoints of real architectures, from transformers' own configuration classes.

The weights spread so far that the output depends on the whole prompt and the best choice is well
ahead of the next. The tokenizer has a token for each printable ASCII character, so that any text of
a request is tokenized in one way and any answer is text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SEED = 20260117
CONTEXT = 320
DEFAULT = ("Qwen3ForCausalLM", "LlamaForCausalLM", "Qwen3MoeForCausalLM")
# Of the fields that a configuration has, these are made small.
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": CONTEXT,
    "num_experts": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
    "ffn_dim": 256,
    "ffn_hidden_size": 256,
    "word_embed_proj_dim": 64,
    "rotary_dim": 16,
    "sliding_window": None,
}
# Of a model whose heads divide the hidden size: no attention kernel takes fewer than 32 dimensions.
DIVIDED = {"num_attention_heads": 2, "num_key_value_heads": 1}
# What tells an architecture's model from the first one's.
VARIED: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {"num_key_value_heads": 4, "tie_word_embeddings": True},
    "Qwen3MoeForCausalLM": {"norm_topk_prob": True},
    # These insist on a window.
    "Gemma2ForCausalLM": {"sliding_window": CONTEXT},
    "Gemma3ForCausalLM": {"sliding_window": CONTEXT},
    "Cohere2ForCausalLM": {"sliding_window": CONTEXT},
}
SPECIAL = ("<pad>", "<bos>", "<eos>", "<system>", "<user>", "<assistant>", "<end>")
CHARACTERS = "".join(map(chr, range(0x20, 0x7F)))
CHAT_TEMPLATE = (
    "{{ '<bos>' }}{% for message in messages %}"
    "{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def short_name(architecture: str) -> str:
    """Return what an architecture is called in the names of scenarios.

    >>> short_name("Qwen3MoeForCausalLM")
    'qwen3moe'
    """
    return architecture.partition("For")[0].lower()


def write_checkpoint(architecture: str, folder: Path) -> None:
    """Write configuration, weights and tokenizer of a tiny model.

    :raises ValueError: transformers has no such architecture.
    """
    import torch
    import transformers

    kind = getattr(transformers, architecture, None)
    if kind is None or getattr(kind, "config_class", None) is None:
        raise ValueError(f"transformers {transformers.__version__} has no {architecture}")
    make_tokenizer().save_pretrained(folder)
    model = kind(make_config(kind, architecture)).to(torch.float32)
    model.tie_weights()
    spread_weights(model)
    model.save_pretrained(folder)


def make_config(kind: Any, architecture: str) -> Any:
    """Return the configuration of a tiny model, which has no field that its class does not have."""
    usual = kind.config_class()
    divided = {} if hasattr(usual, "head_dim") else DIVIDED
    wanted = {**SMALL, **divided, **VARIED.get(architecture, {})}
    fields = {name: value for name, value in wanted.items() if hasattr(usual, name)}
    if hasattr(usual, "layer_types"):
        # A window is longer than any request here, and not every backend has one.
        fields["layer_types"] = ["full_attention"] * SMALL["num_hidden_layers"]
    tokens = {"pad_token_id": len(CHARACTERS), "bos_token_id": len(CHARACTERS) + 1}
    return kind.config_class(
        **fields,
        **tokens,
        eos_token_id=len(CHARACTERS) + 2,
        vocab_size=len(CHARACTERS) + len(SPECIAL),
        architectures=[architecture],
    )


def spread_weights(model: Any) -> None:
    """Draw the weights, in the order of their names."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    head = model.get_output_embeddings().weight
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(spread_weight(name, noise, is_head=weight is head))


def spread_weight(name: str, noise: torch.Tensor, *, is_head: bool) -> torch.Tensor:
    """Return one weight: matrices by the square root of their inputs, norms around one."""
    if noise.ndim == 1:
        return 0.1 * noise if name.endswith("bias") else 1.0 + 0.2 * noise
    if "embed" in name and not is_head:
        return 0.5 * noise
    gain = 3.0 if is_head else 1.5
    return noise * (gain / noise.shape[-1] ** 0.5)


def make_tokenizer() -> Any:
    """Return the tokenizer: one token a printable ASCII character, then the special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # A byte-level alphabet writes a space as this character.
    alphabet = {char.replace(" ", "\u0120"): place for place, char in enumerate(CHARACTERS)}
    inside = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    inside.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inside.decoder = decoders.ByteLevel()
    inside.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inside,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
