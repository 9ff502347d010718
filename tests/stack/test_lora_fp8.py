"""LoRA adapters act on every stream of a guided request; fp8 weights where there is a GPU."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from engine import params_of, prompt_of
from oracle import Oracle
from safetensors.torch import save_file
from vllm.lora.request import LoRARequest
from workload import editing, interleaved, text_to_image

RANK = 4
MODULES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def make_adapter(checkpoint, path, seed):
    """Write an adapter for all linear layers; returns the checkpoint with it merged into the
    weights.
    """
    generator = torch.Generator().manual_seed(seed)
    path.mkdir()
    tensors, merged = {}, dict(checkpoint.weights)
    for layer in range(checkpoint.shape.layers):
        for module in MODULES:
            name = f"model.layers.{layer}.{module}"
            rows, columns = merged[f"{name}.weight"].shape
            a = torch.randn(RANK, columns, generator=generator) * columns**-0.5
            b = torch.randn(rows, RANK, generator=generator) * RANK**-0.5
            tensors[f"base_model.model.{name}.lora_A.weight"] = a
            tensors[f"base_model.model.{name}.lora_B.weight"] = b
            merged[f"{name}.weight"] = merged[f"{name}.weight"] + b @ a
    save_file(tensors, path / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": RANK,
        "bias": "none",
        "task_type": "CAUSAL_LM",
        "target_modules": sorted({module.split(".")[1] for module in MODULES}),
    }
    (path / "adapter_config.json").write_text(json.dumps(config))
    return replace(checkpoint, weights=merged)


def test_adapters_in_one_batch(start_engine, checkpoint, tmp_path):
    """Requests with two adapters, guided and not, each as by a model with merged weights.

    Requests without an adapter have a batch of their own: on CPU, unpatched vLLM 0.11.0 gives them
    the adapter in the last slot, because its kernels index with the -1 of "no adapter".
    """
    oracles, adapters = [Oracle(checkpoint)], [None]
    for number in (1, 2):
        oracles.append(Oracle(make_adapter(checkpoint, tmp_path / str(number), seed=number)))
        adapters.append(LoRARequest(f"adapter-{number}", number, str(tmp_path / str(number))))
    v = checkpoint.vocabulary
    requests = [
        text_to_image(v, 4, "3*4"),
        interleaved(v, 8, "2*3", boi=4.0, max_tokens=60),
        editing(v, 9),
        replace(text_to_image(v, 5, "2*5"), uncond=None),
    ]
    engine = start_engine(checkpoint, enable_lora=True, max_loras=2, max_lora_rank=8)

    for numbers in ((1, 2), (0,), (2, 1)):  # At the end, the prefix cache must not mix adapters up.
        jobs = [(request, number) for request in requests for number in numbers]
        results = engine.llm.generate(
            [prompt_of(request) for request, _ in jobs],
            [params_of(request) for request, _ in jobs],
            use_tqdm=False,
            lora_request=[adapters[number] for _, number in jobs],
        )
        found = [list(result.outputs[0].token_ids) for result in results]
        assert found == [oracles[number].generate(request) for request, number in jobs]
        assert len({tuple(tokens) for tokens in found}) == len(jobs)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="vLLM's CPU kernels have no fp8 quantization"
)
def test_fp8_weights(start_engine, checkpoint):
    """`quantization="fp8"` quantizes while loading, as for Qwen3: images keep their form."""
    v = checkpoint.vocabulary
    engine = start_engine(checkpoint, quantization="fp8", dtype="bfloat16")
    (tokens,) = engine.generate([text_to_image(v, 2, "3*4")])
    assert tokens[:5] == v.header(3, 4)
    assert [v.is_visual(token) for token in tokens[5:]] == ([True] * 4 + [False]) * 3
