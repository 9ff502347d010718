"""What a run consists of, once the artifact has said which scenarios there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import events
from .contract import Proof
from .job import PLAN, Job

Plan = dict[str, Any]
EMPTY: Plan = {"stages": [], "required": [], "scenarios": [], "homes": {}}


def make_plan(job: Job, proofs: Mapping[str, Proof]) -> Plan:
    """Return the stages in order, the scenarios that they have to report, and whose each stage is.

    :raises events.WrongOptions: a scenario that was asked for does not exist, or cannot run.
    """
    if job.checks_only:
        return EMPTY
    existing = [name for proof in proofs.values() for name in proof.scenarios]
    _require_known(job, existing)
    plan: Plan = {"stages": [], "required": [], "scenarios": [], "homes": {}}
    for stack, proof in proofs.items():
        if job.model is not None and not accepts(proof, Path(job.model)):
            continue
        chosen = choose(job, proof)
        stages = [stage for stage in proof.stages if chosen.intersection(stage.scenarios)]
        if stages:
            stages = [stage for stage in proof.stages if not stage.scenarios or stage in stages]
        plan["stages"] += [stage.name for stage in stages]
        plan["required"] += [stage.name for stage in stages if not stage.scenarios]
        plan["scenarios"] += [name for name in proof.scenarios if name in chosen]
        plan["homes"] |= {stage.name: stack for stage in stages}
    return plan


def _require_known(job: Job, existing: list[str]) -> None:
    unknown = [name for name in job.scenarios or () if name not in existing]
    if unknown:
        raise events.WrongOptions(
            f"there is no scenario {unknown[0]!r} for this artifact",
            f"one of: {', '.join(existing) or '(none)'}",
        )


def accepts(proof: Proof, model: Path) -> bool:
    """Return whether the checkpoint ``model`` is of an architecture that the proof is for."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return not set(proof.architectures).isdisjoint(config.get("architectures") or ())


def choose(job: Job, proof: Proof) -> frozenset[str]:
    """Return the scenarios of ``proof`` that this run has to report."""
    impossible = proof.impossible if job.model is not None else {}
    if job.scenarios is None:
        return frozenset(proof.scenarios) - proof.skipped(job) - impossible.keys()
    asked = frozenset(job.scenarios).intersection(proof.scenarios)
    for name in sorted(asked & impossible.keys()):
        raise events.WrongOptions(
            f"the scenario {name} {impossible[name]}", "leave --model or that scenario out"
        )
    return asked


def write_plan(job: Job, plan: Plan) -> None:
    """Leave the plan for the guardian and the stages, and tell the host."""
    (job.scratch / PLAN).write_text(json.dumps(plan), encoding="utf-8")
    events.send("plan", stages=[*job.stages, *plan["stages"]], scenarios=plan["scenarios"])


def read_plan(scratch: Path) -> Plan:
    """Return the plan that was left, or an empty one."""
    file = scratch / PLAN
    if not file.exists():
        return EMPTY
    plan: Plan = json.loads(file.read_text(encoding="utf-8"))
    return plan
