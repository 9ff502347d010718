"""What a checkpoint's folder holds, and what of it would stop an engine while it loads.

Reads configuration, index, headers and the tokenizer's files, no tensor, and imports no code of the
checkpoint. What is looked at is what vLLM 0.11.0 reads: ``DefaultModelLoader`` takes
``*.safetensors`` (those of the index, if there is one), else ``*.bin``, else ``*.pt``.
"""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_patchkit.doctor.model import Facts, Finding, Severity
from vllm_patchkit.doctor.remote_code import code_faults, modules_of, tokenizer_code
from vllm_patchkit.doctor.safetensors import SafetensorsError, Tensor, read_header
from vllm_patchkit.doctor.usable import Unusable, is_folder, printable, read_object, require_usable
from vllm_patchkit.errors import first_few

DIMENSIONS = ("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size",
              "vocab_size", "max_position_embeddings")  # fmt: skip
INDEX = "model.safetensors.index.json"
PATTERNS = ("*.safetensors", "*.bin", "*.pt")
NO_WEIGHTS = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt",
                "spiece.model", "sentencepiece.bpe.model", "*.tiktoken")  # fmt: skip
SHARD = re.compile(r"(.*-)(\d+)-of-(\d+)(\.\w+)")
LAYER = re.compile(r"(?:^|\.)model\.layers\.(\d{1,9})\.")
EMBEDDING = re.compile(r"(?:^|\.)model\.embed_tokens\.weight")
LISTED = 5
LAYERS = SHARDS = 10_000  # no model has more
WHY = {
    "model-config": "the engine ends before it loads anything: it cannot tell which model this is",
    "model-weights": "the engine ends while it loads the weights (with --load-format dummy it "
    "reads none)",
    "model-tokenizer": "the engine ends while it loads the tokenizer",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What was read of a checkpoint.

    :param config: its ``config.json``, with the dimensions of a ``text_config`` on top; empty
        where there is none that can be read.
    """

    name: str
    config: Facts
    findings: tuple[Finding, ...]

    @property
    def has_dimensions(self) -> bool:
        """Whether its memory can be reckoned."""
        return all(key in self.config for key in DIMENSIONS)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint's folder, or a ``config.json`` alone; never raises."""
    remedy = _remedy(path)
    config: Facts = {}
    findings: list[Finding] = []

    def tell(code: str, what: Iterable[str], severity: Severity = Severity.ERROR) -> None:
        for one in map(printable, what):
            findings.append(
                Finding(code=code, severity=severity, what=one, why=WHY[code], remedy=remedy)
            )

    whole = is_folder(path)
    source = path / "config.json" if whole else path
    try:
        config = read_object(source)
        tell("model-config", _config_faults(config, source))
        config = {**config, **_text_config(config)}
        if any(finding.code == "model-config" for finding in findings):
            config = {}
    except Unusable as error:
        tell("model-config", [str(error)])
    names = _list(path) if whole else []
    if whole and not names:
        tell("model-weights", [f"{path} is empty, or you have no permission to list it"])
    elif whole:
        tell("model-weights", _weight_faults(path, names, config))
        tell("model-tokenizer", _tokenizer_faults(path, names))
        if not _is_there(path / "tokenizer_config.json"):
            what = [f"{path} has no tokenizer_config.json: the model's type decides on the class"]
            tell("model-tokenizer", what, Severity.WARNING)
    return Checkpoint(name=path.name, config=config, findings=tuple(findings))


def check_architecture(facts: Facts, checkpoint: Checkpoint) -> Iterator[Finding]:
    """Yield whether the installed vLLM knows the model, from its registry's text."""
    names = checkpoint.config.get("architectures") or []
    known = facts["architectures"]
    if not known or not names or set(names) & set(known):
        return
    pairs = {f"{checkpoint.config.get('model_type')} {name}" for name in names}
    fallback = pairs & set(facts["transformers_models"])
    yield Finding(
        code="model-unsupported",
        severity=Severity.WARNING if fallback else Severity.ERROR,
        what=f"the registry of this vLLM has no {' or '.join(names)}",
        why="vLLM runs it by transformers' own code, slower and without what a stack adds"
        if fallback
        else f"the engine ends with 'Model architectures {names} are not supported'",
        remedy="vllm-patchkit apply, or install the wheel with the stack that brings the model",
    )


def _list(folder: Path) -> list[str]:
    """Return what glob sees of a folder; nothing where it may not be listed."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.name[0] != ".")
    except OSError:
        return []


def _config_faults(config: Facts, source: Path) -> Iterator[str]:
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        yield f"{source} names no architectures"
    dimensions = {**config, **_text_config(config)}
    wrong = {
        key: dimensions[key]
        for key in (*DIMENSIONS, "num_key_value_heads", "head_dim")
        if dimensions.get(key) is not None
        and not (type(dimensions[key]) is int and 0 < dimensions[key] < 1 << 31)
    }
    if wrong:
        listed = ", ".join(f"{key} {str(value)[:40]}" for key, value in wrong.items())
        yield f"{source} has dimensions that are none: {listed}"


def _text_config(config: Facts) -> Facts:
    """Return the part of a model of several kinds of input that its language model reads."""
    text = config.get("text_config")
    return {key: text[key] for key in (*DIMENSIONS, "num_key_value_heads", "head_dim",
                                       "tie_word_embeddings") if key in text} \
        if isinstance(text, dict) else {}  # fmt: skip


def _is_there(path: Path) -> bool:
    """Return whether something is there, at the end of links; not whether it may be read."""
    try:
        return path.exists()
    except OSError:
        return True


def _weight_faults(folder: Path, names: list[str], config: Facts) -> Iterator[str]:
    for pattern in PATTERNS:
        found = [name for name in fnmatch.filter(names, pattern) if name not in NO_WEIGHTS]
        if not found:
            continue
        if pattern == PATTERNS[0]:
            yield from _safetensors_faults(folder, found, names, config)
        else:
            yield from _missing_of_series(folder, found)
            yield from (fault for name in found for fault in _pickle_faults(folder / name))
        return
    yield f"{folder} has no weights: {', '.join(PATTERNS)}"


def _safetensors_faults(
    folder: Path, names: list[str], everything: list[str], config: Facts
) -> Iterator[str]:
    index: dict[str, str] | None = None
    if INDEX in everything:
        try:
            index = _read_index(folder / INDEX)
        except Unusable as error:
            yield str(error)
            return
    wanted = sorted(set(index.values())) if index is not None else names
    yield from _listed(
        f"{INDEX} names files that {folder} does not have",
        [name for name in wanted if name not in names],
    )
    if index is None:
        yield from _missing_of_series(folder, names)
    held: dict[str, dict[str, Tensor]] = {}
    whole = True
    for name in wanted:
        if name not in names:
            whole = False
            continue
        try:
            require_usable(folder / name)
            held[name] = read_header(folder / name)
        except Unusable as error:
            whole = False
            yield str(error)
        except (SafetensorsError, OSError) as error:
            whole = False
            yield f"{folder / name} is no whole safetensors file: {error}"
    yield from _listed(
        f"{folder}: tensors are not in the file that {INDEX} names",
        [name for name, file in (index or {}).items() if file in held and name not in held[file]],
    )
    if whole:
        tensors = {name: one for file in held.values() for name, one in file.items()}
        yield from _shape_faults(folder, tensors, config)


def _read_index(path: Path) -> dict[str, str]:
    weight_map = read_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise Unusable(f"{path} has no weight_map")
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise Unusable(f"{path} has a weight_map whose values are no file names")
    return weight_map


def _shape_faults(folder: Path, tensors: dict[str, Tensor], config: Facts) -> Iterator[str]:
    """Compare layers and embeddings with the dimensions of ``config.json``."""
    layers = {int(found[1]) for name in tensors if (found := LAYER.search(name))}
    wanted = config.get("num_hidden_layers", 0)
    if layers:
        yield from _listed(
            f"{folder} lacks the weights of layers, of {wanted} in config.json",
            [str(number) for number in range(min(wanted, LAYERS)) if number not in layers],
        )
    rows = [config.get("vocab_size"), config.get("hidden_size")]
    for name, tensor in tensors.items():
        is_matrix = EMBEDDING.search(name) and len(tensor.shape) == 2 and None not in rows
        if is_matrix and list(tensor.shape) != rows:
            yield (
                f"{folder}: {name} is {tensor.shape[0]} by {tensor.shape[1]}, and config.json says "
                f"vocab_size {rows[0]} and hidden_size {rows[1]}"
            )


def _missing_of_series(folder: Path, names: list[str]) -> Iterator[str]:
    """Name what is missing of ``model-00001-of-00004`` and its like."""
    series = {(match[1], match[3], match[4]) for name in names if (match := SHARD.fullmatch(name))}
    for head, last, ending in sorted(series):
        whole = [
            f"{head}{number:0{len(last)}d}-of-{last}{ending}"
            for number in range(1, min(int(last), SHARDS) + 1)
        ]
        yield from _listed(
            f"{folder} has not all of {last} files", [name for name in whole if name not in names]
        )


def _pickle_faults(path: Path) -> Iterator[str]:
    try:
        require_usable(path)
        with path.open("rb") as stream:
            start = stream.read(2)
        if start == b"PK" and not zipfile.is_zipfile(path):
            yield f"{path} is cut short"
        elif start != b"PK" and start[:1] != b"\x80":
            yield f"{path} is no file of torch.save"
    except Unusable as error:
        yield str(error)


def _tokenizer_faults(folder: Path, names: list[str]) -> Iterator[str]:
    code: Any = None
    if _is_there(folder / "tokenizer_config.json"):
        try:
            code = tokenizer_code(read_object(folder / "tokenizer_config.json"))
        except Unusable as error:
            yield str(error)
    yield from code_faults(folder, code)
    wanted = [name for pattern in VOCABULARIES for name in fnmatch.filter(names, pattern)]
    if "vocab.json" in names and "tokenizer.json" not in names:
        wanted.append("merges.txt")
    for module in modules_of(code):
        wanted += _vocabulary_files(folder / f"{module}.py")
    if not wanted and not code:
        yield f"{folder} has no tokenizer: none of {', '.join(VOCABULARIES)}"
    for name in dict.fromkeys(wanted):
        try:
            if name == "tokenizer.json" and "model" not in read_object(folder / name):
                yield f"{folder / name} has no model"
            require_usable(folder / name)
        except Unusable as error:
            yield str(error)


def _vocabulary_files(module: Path) -> list[str]:
    """Return the files that a tokenizer's own code says it reads (``VOCAB_FILES_NAMES``)."""
    try:
        tree = ast.parse(module.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "VOCAB_FILES_NAMES" in map(ast.unparse, node.targets):
            try:
                files = ast.literal_eval(node.value)
            except ValueError:
                return []
            if isinstance(files, dict):
                names = (name for key, name in files.items() if key != "tokenizer_file")
                return [name for name in names if isinstance(name, str)]
    return []


def _listed(what: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"{what}: {first_few(names, LISTED)}"


def _remedy(path: Path) -> str:
    inside = sorted(path.glob("snapshots/*/config.json"))
    if inside:
        return f"name the folder that has it: --model {inside[0].parent}"
    folder = path if is_folder(path) else path.parent
    cached = re.search(r"/models--([^/]+?)--([^/]+)/snapshots/", f"{folder.absolute()}/")
    if cached:
        return f"hf download {cached[1]}/{cached[2]} fetches what is missing"
    return f"fetch it again: hf download ORG/NAME --local-dir {folder} keeps what is whole"
