"""Python that a checkpoint brings: when an engine runs it, and what is wrong with it.

Nothing of it is imported here. What is asked is what vLLM 0.11.0 and its transformers ask: vLLM
reads the configuration of its own types of model itself; for every other type, and for a tokenizer
whose class transformers does not have, ``auto_map`` names the checkpoint's code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vllm_patchkit.doctor.model import Facts, Finding, Severity
from vllm_patchkit.doctor.usable import Unusable, is_folder, printable, read_object, require_usable

RELATIVE_IMPORT = re.compile(r"^\s*(?:from\s+\.(\w+)\s+import|import\s+\.(\w+))", re.MULTILINE)
TRUST = "--trust-remote-code (offline LLM(..., trust_remote_code=True))"


def check_remote_code(facts: Facts, folder: Path, config: Facts) -> Iterator[Finding]:
    """Yield what a checkpoint's folder asks of ``--trust-remote-code``."""
    if not is_folder(folder):
        return
    known = facts["tokenizer_classes"]
    try:
        tokenizer = read_object(folder / "tokenizer_config.json")
    except Unusable:
        tokenizer = {}
    name = tokenizer.get("tokenizer_class")
    modules = modules_of(tokenizer_code(tokenizer))
    if known and isinstance(name, str) and not {name, f"{name}Fast"} & set(known):
        yield from _needed("tokenizer", name, folder, modules)
    modules = modules_of(config.get("auto_map"))
    kind = config.get("model_type")
    types = {pair.partition(" ")[0] for pair in facts["transformers_models"]}
    if kind in facts["config_types"]:
        yield from _left_alone(folder, modules)
        if types and kind not in types and name is None:
            yield _no_class(folder, str(kind))
        return
    for fault in code_faults(folder, config.get("auto_map")):
        yield Finding(
            code="model-code",
            severity=Severity.WARNING,
            what=printable(fault),
            why="transformers imports it with --trust-remote-code, and ends",
            remedy=f"fetch it again: hf download ORG/NAME --local-dir {folder}",
        )
    if types and isinstance(kind, str) and kind not in types:
        yield from _needed("configuration", kind, folder, modules)


def _needed(what: str, name: str, folder: Path, modules: list[str]) -> Iterator[Finding]:
    if modules:
        files = _files(modules)
        yield Finding(
            code="model-remote-code",
            severity=Severity.WARNING,
            what=printable(f"{folder}: the {what} {name} is Python of the checkpoint: {files}"),
            why=f"the engine ends while it loads the {what}, unless it is given "
            "--trust-remote-code: then it runs this code, with your rights",
            remedy=printable(f"read {files}, then start the engine with {TRUST}"),
        )


def _left_alone(folder: Path, modules: list[str]) -> Iterator[Finding]:
    if modules:
        yield Finding(
            code="model-remote-code",
            severity=Severity.NOTE,
            what=printable(f"{folder}: config.json names Python of the checkpoint: "
                           f"{_files(modules)}"),
            why="vLLM has this model itself and runs none of it, with --trust-remote-code neither",
            remedy="nothing to do; these files may be missing",
        )  # fmt: skip


def _no_class(folder: Path, kind: str) -> Finding:
    return Finding(
        code="model-tokenizer",
        severity=Severity.ERROR,
        what=printable(f"{folder / 'tokenizer_config.json'} names no tokenizer_class"),
        why=f"transformers would take that of the model's type, and does not know {kind}: the "
        "engine ends while it loads the tokenizer",
        remedy="fetch the file again, with the checkpoint's own tokenizer_class",
    )


def _files(modules: list[str]) -> str:
    return ", ".join(f"{name}.py" for name in dict.fromkeys(modules))


def tokenizer_code(tokenizer: Facts) -> Any:
    """Return what a ``tokenizer_config.json`` names as the tokenizer's code, or None."""
    auto_map = tokenizer.get("auto_map")
    return auto_map.get("AutoTokenizer") if isinstance(auto_map, dict) else auto_map


def code_faults(folder: Path, auto_map: Any) -> Iterator[str]:
    """Name the modules of the checkpoint's own code that are not there, as it imports them."""
    left, seen = modules_of(auto_map), set[str]()
    while left:
        module = left.pop()
        if module in seen:
            continue
        seen.add(module)
        path = folder / f"{module}.py"
        try:
            require_usable(path)
            source = path.read_text(encoding="utf-8")
            ast.parse(source)
        except (Unusable, OSError) as error:
            yield str(error)
        except (ValueError, SyntaxError, RecursionError) as error:
            yield f"{path} is no Python: {error}"
        else:
            left += [first or second for first, second in RELATIVE_IMPORT.findall(source)]


def modules_of(auto_map: Any) -> list[str]:
    """Return the modules that an ``auto_map`` names in this folder (``repo--module.Class`` not)."""
    if isinstance(auto_map, dict):
        return [module for value in auto_map.values() for module in modules_of(value)]
    if isinstance(auto_map, (list, tuple)):
        return [module for value in auto_map for module in modules_of(value)]
    if not isinstance(auto_map, str) or "--" in auto_map or "/" in auto_map:
        return []
    return [auto_map.partition(".")[0]] if "." in auto_map else []
