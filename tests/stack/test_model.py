"""The model, its configuration and its weights (patches 1 to 5)."""

from __future__ import annotations

import json
import math

import checkpoint as tiny
import pytest
import torch
from oracle import Model
from safetensors.torch import load_file, save_file
from vllm import SamplingParams
from vllm.transformers_utils.config import get_config

SHAPES = {"gqa": tiny.GQA, "odd-heads": tiny.ODD_HEADS, "two-way": tiny.TWO_WAY}


def prompt_logprobs(engine, tokens):
    """The engine's log-probability of every prompt token but the first."""
    params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
    (output,) = engine.llm.generate([{"prompt_token_ids": tokens}], params, use_tqdm=False)
    return [
        entry[token].logprob
        for entry, token in zip(output.prompt_logprobs[1:], tokens[1:], strict=True)
    ]


def expected_logprobs(logits, tokens):
    return logits.log_softmax(-1)[range(len(tokens) - 1), tokens[1:]].tolist()


def transformers_logits(checkpoint, tokens):
    """Logits by transformers' Qwen3 with the same weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = json.loads((checkpoint.path / "config.json").read_text())
    for key in ("architectures", "model_type", "auto_map"):
        del config[key]
    model = Qwen3ForCausalLM(Qwen3Config(**config)).eval()
    model.load_state_dict(checkpoint.weights)
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0]


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_the_oracle_and_of_transformers(name, tmp_path, start_engine):
    """A checkpoint with HF names loads without remote code and computes what two other
    implementations do.
    """
    checkpoint = tiny.make_checkpoint(tmp_path, SHAPES[name], seed=11)
    vocabulary = checkpoint.vocabulary
    tokens = (
        vocabulary.text(21, seed=1) + vocabulary.image(5, 7, seed=2) + vocabulary.text(60, seed=3)
    )

    found = prompt_logprobs(start_engine(checkpoint), tokens)

    assert found == pytest.approx(
        expected_logprobs(Model(checkpoint).logits(tokens), tokens), abs=1e-4
    )
    assert found == pytest.approx(
        expected_logprobs(transformers_logits(checkpoint, tokens), tokens), abs=1e-4
    )


def test_compiled_model_computes_the_same(tmp_path, start_engine):
    """torch.compile, vLLM's default, changes no result."""
    checkpoint = tiny.make_checkpoint(tmp_path, seed=12)
    tokens = checkpoint.vocabulary.text(40, seed=1)

    found = prompt_logprobs(start_engine(checkpoint, enforce_eager=False), tokens)

    assert found == pytest.approx(
        expected_logprobs(Model(checkpoint).logits(tokens), tokens), abs=1e-4
    )


def test_sharded_checkpoint_loads(tmp_path, start_engine):
    """Weights spread over two safetensors files with an index, as the published checkpoint has
    them.
    """
    checkpoint = tiny.make_checkpoint(tmp_path, seed=13)
    (tmp_path / "model.safetensors").unlink()
    names = sorted(checkpoint.weights)
    index = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file(
            {name: checkpoint.weights[name] for name in part},
            tmp_path / file,
            metadata={"format": "pt"},
        )
        index |= dict.fromkeys(part, file)
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    tokens = checkpoint.vocabulary.text(20, seed=1)

    found = prompt_logprobs(start_engine(checkpoint), tokens)

    assert found == pytest.approx(
        expected_logprobs(Model(checkpoint).logits(tokens), tokens), abs=1e-4
    )


def test_dummy_weights_load(tmp_path, start_engine):
    """`load_format="dummy"` needs a config alone."""
    checkpoint = tiny.make_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()

    found = prompt_logprobs(start_engine(checkpoint, load_format="dummy"), [1, 30, 31])

    assert all(math.isfinite(value) for value in found)


def test_first_emu3_is_refused(tmp_path, start_engine):
    """A checkpoint without norms of queries and keys is not Emu3.5; the error says what it
    probably is.
    """
    checkpoint = tiny.make_checkpoint(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if "q_norm" not in name and "k_norm" not in name},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )

    with pytest.raises(ValueError, match="probably the first Emu3"):
        start_engine(checkpoint)


def test_incomplete_checkpoint_keeps_upstreams_error(tmp_path, start_engine):
    """Any other missing weight is reported as for every model."""
    checkpoint = tiny.make_checkpoint(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ValueError, match=r"not initialized from checkpoint.*model\.norm\.weight"):
        start_engine(checkpoint)


def config_of(path, **fields):
    (path / "config.json").write_text(
        json.dumps({"model_type": "Emu3", "architectures": ["Emu3ForCausalLM"]} | fields)
    )
    return get_config(path, trust_remote_code=False)


def test_missing_config_fields_have_the_published_defaults(tmp_path):
    """The table of defaults and token ids in the description of the model."""
    config = config_of(tmp_path)

    expected = {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 184622,
        "max_position_embeddings": 9216,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e6,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "hidden_act": "silu",
        "pad_token_id": 151643,
        "bos_token_id": 151849,
        "eos_token_id": 151850,
        "eol_token_id": 151846,
        "eof_token_id": 151847,
        "img_token_id": 151851,
        "boi_token_id": 151852,
        "eoi_token_id": 151853,
        "visual_token_offset": 151854,
        "size_token_ids": {
            "0": 15,
            "1": 16,
            "2": 17,
            "3": 18,
            "4": 19,
            "5": 20,
            "6": 21,
            "7": 22,
            "8": 23,
            "9": 24,
            "*": 9,
        },
    }
    assert {name: getattr(config, name) for name in expected} == expected


def test_visual_tokens_end_the_published_vocabulary(tmp_path):
    """151854 + 131072 = 282926."""
    assert config_of(tmp_path, vocab_size=282926).visual_vocab_size == 131072


def test_transformers_own_emu3_still_resolves(tmp_path):
    """`emu3` in lower case is transformers' model, untouched."""
    from transformers import Emu3Config
    from vllm.model_executor.models.registry import ModelRegistry

    Emu3Config(architectures=["Emu3ForConditionalGeneration"]).save_pretrained(tmp_path)

    assert type(get_config(tmp_path, trust_remote_code=False)) is Emu3Config
    assert (
        ModelRegistry.models["Emu3ForConditionalGeneration"].class_name
        == "TransformersForMultimodalLM"
    )
    assert (
        ModelRegistry.models["Emu3ForCausalLM"].module_name == "vllm.model_executor.models.emu3_5"
    )
