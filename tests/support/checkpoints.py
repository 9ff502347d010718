"""A checkpoint of a few kilobytes, whole: its faults are made by who asks for it."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 32, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}  # fmt: skip
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "model": {"type": "WordLevel", "vocab": {f"w{n}": n for n in range(32)}, "unk_token": "w0"},
}
INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the weights of the model by name."""
    square = (64, 64)
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (32, 64)}
    for layer in range(2):
        names = [f"self_attn.{one}_proj" for one in "qkvo"]
        names += [f"mlp.{one}_proj" for one in ("gate", "up", "down")]
        found |= {f"model.layers.{layer}.{name}.weight": square for name in names}
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"model.layers.{layer}.{name}.weight"] = (64,)
    return found | {"model.norm.weight": (64,), "lm_head.weight": (32, 64)}


def safetensors(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """Return a file of bf16 zeros."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def write_checkpoint(folder: Path) -> Path:
    """Write the checkpoint, in two shards with their index."""
    folder.mkdir(parents=True)
    tensors = shapes()
    second = {name: shape for name, shape in tensors.items() if "layers.1" in name}
    first = {name: shape for name, shape in tensors.items() if name not in second}
    (folder / SHARDS[0]).write_bytes(safetensors(first))
    (folder / SHARDS[1]).write_bytes(safetensors(second))
    weight_map = {name: SHARDS[name in second] for name in tensors}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "w0"})
    )
    return folder


Act = Callable[[Path], object]


def edit(name: str, **changes: Any) -> Act:
    """Change keys of a JSON file; None takes one away."""

    def act(folder: Path) -> None:
        found = json.loads((folder / name).read_text()) | changes
        kept = {key: value for key, value in found.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))

    return act


def put(name: str, data: bytes) -> Act:
    """Replace a file."""
    return lambda folder: (folder / name).write_bytes(data)


def cut(name: str, size: int) -> Act:
    """Leave a file's first bytes."""
    return lambda folder: os.truncate(folder / name, size)


def gone(*names: str) -> Act:
    """Take files away."""
    return lambda folder: [(folder / name).unlink() for name in names]


def link(name: str, target: str) -> Act:
    """Put a link where a file was, as a hub's cache does."""

    def act(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return act


def as_folder(name: str) -> Act:
    """Put a folder where a file was."""

    def act(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return act


def length(value: int) -> Act:
    """Let a shard say another length of its header."""

    def act(folder: Path) -> None:
        data = (folder / SHARDS[1]).read_bytes()
        (folder / SHARDS[1]).write_bytes(struct.pack("<Q", value) + data[8:])

    return act


def header(change: Callable[[dict[str, Any]], object], tail: bytes = b"") -> Act:
    """Change what a shard's header says of its tensors."""

    def act(folder: Path) -> None:
        data = (folder / SHARDS[1]).read_bytes()
        size = int.from_bytes(data[:8], "little")
        found = json.loads(data[8 : 8 + size])
        change(found)
        text = json.dumps(found).encode()
        (folder / SHARDS[1]).write_bytes(
            struct.pack("<Q", len(text)) + text + data[8 + size :] + tail
        )

    return act


def both(*acts: Act) -> Act:
    """Do one after the other."""
    return lambda folder: [act(folder) for act in acts]


def first(found: dict[str, Any]) -> dict[str, Any]:
    """Return the first tensor's entry."""
    entry: dict[str, Any] = next(iter(found.values()))
    return entry


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n"
# What is wrong, and the code of the finding that says so.
FAULTS: dict[str, tuple[Act, str]] = {
    "no config.json": (gone("config.json"), "model-config"),
    "config.json is a folder": (as_folder("config.json"), "model-config"),
    "config.json is empty": (put("config.json", b""), "model-config"),
    "config.json is binary": (put("config.json", bytes(range(256)) * 9), "model-config"),
    "config.json is a list": (put("config.json", b"[1, 2]"), "model-config"),
    "config.json is too deep": (put("config.json", b"[" * 200_000), "model-config"),
    "config.json begins with a BOM": (
        lambda folder: put("config.json", b"\xef\xbb\xbf" + (folder / "config.json").read_bytes())(
            folder
        ),
        "model-config",
    ),
    "config.json leads nowhere": (link("config.json", "../../blobs/0123"), "model-config"),
    "config.json leads to itself": (link("config.json", "config.json"), "model-config"),
    "config.json names no architecture": (edit("config.json", architectures=None), "model-config"),
    "a dimension is NaN": (edit("config.json", num_hidden_layers=float("nan")), "model-config"),
    "a dimension is text": (edit("config.json", hidden_size="64"), "model-config"),
    "a dimension is 0": (edit("config.json", num_attention_heads=0), "model-config"),
    "no weights": (gone(*SHARDS, INDEX), "model-weights"),
    "no weights but an index": (gone(*SHARDS), "model-weights"),
    "a shard is missing": (gone(SHARDS[1]), "model-weights"),
    "a shard is missing, and the index": (gone(SHARDS[1], INDEX), "model-weights"),
    "a shard leads nowhere": (link(SHARDS[1], "../../blobs/4567"), "model-weights"),
    "a shard leads to itself": (link(SHARDS[1], SHARDS[1]), "model-weights"),
    "a shard is a folder": (as_folder(SHARDS[1]), "model-weights"),
    "a shard is empty": (put(SHARDS[1], b""), "model-weights"),
    "a shard is a pointer of Git LFS": (put(SHARDS[1], POINTER), "model-weights"),
    "a shard is cut in its length": (cut(SHARDS[1], 5), "model-weights"),
    "a shard is cut in its header": (cut(SHARDS[1], 100), "model-weights"),
    "a shard is cut in its data": (cut(SHARDS[1], 5000), "model-weights"),
    "a header of 2**63 bytes": (length(2**63), "model-weights"),
    "a header of 2**64 - 1 bytes": (length(2**64 - 1), "model-weights"),
    "a header of 0 bytes": (length(0), "model-weights"),
    "bytes behind the tensors": (header(lambda found: None, b"more"), "model-weights"),
    "a tensor of another size": (
        header(lambda found: first(found).update(shape=[64, 65])),
        "model-weights",
    ),
    "a tensor of unknown type": (
        header(lambda found: first(found).update(dtype="INT3")),
        "model-weights",
    ),
    "a tensor without offsets": (
        header(lambda found: first(found).pop("data_offsets")),
        "model-weights",
    ),
    "a tensor with a negative offset": (
        header(lambda found: first(found).update(data_offsets=[-8, 8184])),
        "model-weights",
    ),
    "tensors over one another": (
        header(lambda found: first(found).update(data_offsets=[8192, 16384])),
        "model-weights",
    ),
    "a shape of 2**63": (
        header(lambda found: first(found).update(shape=[2**63, 2**63, 0])),
        "model-weights",
    ),
    "the index is no JSON": (put(INDEX, b"{"), "model-weights"),
    "the index has no weight_map": (put(INDEX, b"{}"), "model-weights"),
    "the index names other files": (
        put(INDEX, json.dumps({"weight_map": {"lm_head.weight": "../model.safetensors"}}).encode()),
        "model-weights",
    ),
    "the index names a number": (
        put(INDEX, json.dumps({"weight_map": {"lm_head.weight": 1}}).encode()),
        "model-weights",
    ),
    "a layer too few": (edit("config.json", num_hidden_layers=3), "model-weights"),
    "another vocabulary": (edit("config.json", vocab_size=64), "model-weights"),
    "another width": (edit("config.json", hidden_size=128), "model-weights"),
    "weights that are no file of torch": (
        both(gone(*SHARDS, INDEX), put("pytorch_model.bin", b"<html>")),
        "model-weights",
    ),
    "no tokenizer": (gone("tokenizer.json", "tokenizer_config.json"), "model-tokenizer"),
    "no vocabulary": (gone("tokenizer.json"), "model-tokenizer"),
    "a vocabulary that is cut": (cut("tokenizer.json", 50), "model-tokenizer"),
    "a vocabulary that is empty": (put("tokenizer.json", b""), "model-tokenizer"),
    "a vocabulary without a model": (put("tokenizer.json", b"{}"), "model-tokenizer"),
    "tokenizer_config.json is cut": (cut("tokenizer_config.json", 9), "model-tokenizer"),
    "the tokenizer's own code is missing": (
        both(
            edit("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]},
                 tokenizer_class="Own"),
            gone("tokenizer.json"),
        ),
        "model-tokenizer",
    ),
}  # fmt: skip
# What looks odd, and loads.
HARMLESS: dict[str, Act] = {
    "nothing": lambda folder: None,
    "no index": gone(INDEX),
    "a key twice": lambda folder: put(
        "config.json", b'{"hidden_size": 1, ' + (folder / "config.json").read_bytes()[1:]
    )(folder),
    "a NaN that is no dimension": edit("config.json", image_area=float("nan")),
    "a shard that the index leaves out": put("model-00003-of-00002.safetensors", b"no"),
    "tokenizer_config.json leads nowhere": link("tokenizer_config.json", "../../blobs/89ab"),
    "a total_size of another checkpoint": edit(INDEX, metadata={"total_size": 1}),
    "code of its own that a model of vLLM's needs not": edit(
        "config.json", auto_map={"AutoModel": "modeling_own.Own"}
    ),
    "a link to a blob": lambda folder: both(
        lambda folder: (folder / SHARDS[0]).rename(folder.with_suffix(".blob")),
        link(SHARDS[0], str(folder.with_suffix(".blob"))),
    )(folder),
    "a file of the same kind whose name begins with a dot": put(".part.safetensors", b""),
}
OWN_TOKENIZER = put(
    "own_tokens.py",
    b"from transformers import PreTrainedTokenizerFast\nclass Own(PreTrainedTokenizerFast): pass\n",
)
OWN_CONFIG = put(
    "own_config.py",
    b"from transformers import LlamaConfig\nclass Own(LlamaConfig): model_type = 'own'\n",
)
UNLOADABLE = put("own_model.py", b"raise RuntimeError('this was imported')\n")
TOKENIZER_MAP = {"AutoTokenizer": ["own_tokens.Own", None]}
CONFIG_MAP = {"AutoConfig": "own_config.Own", "AutoModelForCausalLM": "own_model.Own"}
# Python that a checkpoint brings.
OWN_CODE: dict[str, Act] = {
    "none": lambda folder: None,
    "a tokenizer": both(
        OWN_TOKENIZER,
        edit("tokenizer_config.json", tokenizer_class="Own", auto_map=TOKENIZER_MAP),
    ),
    "a tokenizer whose class transformers has": both(
        OWN_TOKENIZER, edit("tokenizer_config.json", auto_map=TOKENIZER_MAP)
    ),
    "a configuration": both(
        OWN_CONFIG, UNLOADABLE, edit("config.json", model_type="own", auto_map=CONFIG_MAP)
    ),
    "both": both(
        OWN_CONFIG,
        UNLOADABLE,
        OWN_TOKENIZER,
        edit("config.json", model_type="own", auto_map=CONFIG_MAP),
        edit("tokenizer_config.json", tokenizer_class="Own", auto_map=TOKENIZER_MAP),
    ),
    "a configuration of a type that vLLM reads itself, and a model that fails": both(
        UNLOADABLE,
        put("own_config.py", b"raise RuntimeError('this was imported')\n"),
        edit("config.json", model_type="Emu3", head_dim=32, auto_map=CONFIG_MAP),
    ),
    "a tokenizer of no class, of a type that vLLM alone reads": both(
        OWN_TOKENIZER,
        edit("config.json", model_type="Emu3", head_dim=32),
        edit("tokenizer_config.json", tokenizer_class=None, auto_map=TOKENIZER_MAP),
    ),
}
