"""Print, as JSON, what models that the stack does not concern generate. Runs in a process of its
own.

Usage: python other_models.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

COMMON = {
    "vocab_size": 320,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float32",
}
LLAMA = COMMON | {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
CONFIGS = {
    "llama": LLAMA | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "qwen3": LLAMA | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
    "gpt2": COMMON
    | {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": 64,
        "n_head": 2,
        "n_layer": 2,
        "n_positions": 256,
        "activation_function": "gelu_new",
    },
}


def generate(folder: Path) -> list[object]:
    from vllm import LLM, SamplingParams

    llm = LLM(
        str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=256,
        block_size=16,
        enforce_eager=True,
        seed=0,
    )
    kinds = [
        {"temperature": 0.0},
        {"temperature": 0.0, "logprobs": 3, "prompt_logprobs": 1},
        {"temperature": 1.0, "seed": 3, "top_k": 20, "top_p": 0.9, "n": 2},
        {"temperature": 0.7, "seed": 4, "min_p": 0.05, "repetition_penalty": 1.3},
        {
            "temperature": 1.3,
            "seed": 5,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.5,
            "min_tokens": 5,
        },
        {"temperature": 1.0, "seed": 6, "logit_bias": {7: 3.0}, "stop_token_ids": [7]},
        {"temperature": 1.0, "seed": 7, "allowed_token_ids": list(range(50, 90))},
        {"temperature": 1.0},
        {"temperature": 0.0, "extra_args": {"unrelated": 1}},
    ]
    # Each kind has a batch of its own: upstream's faults with neighbours (seeds on a CPU, masks of
    # allowed tokens) are mended for every model. Those without a seed come first: seeded rows took
    # numbers from the generator of all on a CPU, too.
    found: list[object] = []
    for number, kind in sorted(enumerate(kinds), key=lambda item: "seed" in item[1]):
        prompts = [
            {"prompt_token_ids": [1, *range(3 + i, 40 + 5 * i)]}
            for i in (number, number + len(kinds))
        ]
        params = SamplingParams(max_tokens=20, detokenize=False, ignore_eos=True, **kind)
        for result in llm.generate(prompts, params, use_tqdm=False):
            for output in result.outputs:
                logprobs = [
                    {token: entry.logprob for token, entry in step.items()}
                    for step in output.logprobs or []
                ]
                found.append([list(output.token_ids), output.finish_reason, logprobs])
    return found


if __name__ == "__main__":
    import vllm

    results: dict[str, object] = {"vllm": str(Path(vllm.__file__).parent)}
    for name, config in CONFIGS.items():
        folder = Path(sys.argv[1]) / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        results[name] = generate(folder)
    sys.stdout.write("\nRESULT " + json.dumps(results) + "\n")
