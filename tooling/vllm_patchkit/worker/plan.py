"""What a run consists of, once the artifact has said which scenarios there are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from . import events
from .contract import Proof
from .general.proof import general_proof
from .job import PLAN, Job

Plan = dict[str, Any]
GENERAL = ""
"""What stands for a stack's name where a stage is the worker's own."""
EMPTY: Plan = {
    "stages": [],
    "required": [],
    "scenarios": [],
    "owned": [],
    "homes": {},
    "architectures": [],
}


def make_plan(job: Job, proofs: Mapping[str, Proof]) -> Plan:
    """Return the stages in order, the scenarios that they have to report, and whose each stage is.

    :raises events.WrongOptions: a scenario that was asked for does not exist, or cannot run.
    """
    if job.checks_only:
        return EMPTY
    used = choose_proofs(job, proofs)
    existing = [name for proof in used.values() for name in proof.scenarios]
    asked = resolve(job, existing)
    plan = deepcopy(EMPTY) | {"architectures": list(job.architectures)}
    for stack, proof in used.items():
        chosen = choose(job, proof, asked)
        stages = [stage for stage in proof.stages if chosen.intersection(stage.scenarios)]
        if stages:
            stages = [stage for stage in proof.stages if not stage.scenarios or stage in stages]
        plan["stages"] += [stage.name for stage in stages]
        plan["required"] += [stage.name for stage in stages if not stage.scenarios]
        names = [name for name in proof.scenarios if name in chosen]
        plan["scenarios"] += names
        plan["owned"] += names if stack != GENERAL else []
        plan["homes"] |= {stage.name: stack for stage in stages}
    return plan


def choose_proofs(job: Job, proofs: Mapping[str, Proof]) -> dict[str, Proof]:
    """Return the proofs that this run makes use of: the general one, then the stacks' own.

    A real checkpoint is for the stack that adds its architecture, else for the general one.
    """
    general = {GENERAL: general_proof(job)} if job.general else {}
    if job.model is None:
        return {**general, **proofs}
    mine = {name: proof for name, proof in proofs.items() if accepts(proof, Path(job.model))}
    return mine or general


def resolve(job: Job, existing: Sequence[str]) -> frozenset[str] | None:
    """Return the scenarios that the names which were asked for stand for; None for the usual ones.

    :raises events.WrongOptions: a name stands for none.
    """
    if job.scenarios is None:
        return None
    for name in job.scenarios:
        if not select(name, existing):
            raise events.WrongOptions(
                f"there is no scenario {name!r} for this artifact",
                f"one of: {', '.join(existing) or '(none)'}",
            )
    return frozenset(one for name in job.scenarios for one in select(name, existing))


def select(name: str, existing: Iterable[str]) -> list[str]:
    """Return what a name stands for: a scenario, all of a model, or the same of every model.

    >>> select("qwen3", ["qwen3/one", "llama/one"]), select("one", ["qwen3/one", "llama/one"])
    (['qwen3/one'], ['qwen3/one', 'llama/one'])
    """
    names = list(existing)
    return [one for one in names if one == name] or [one for one in names if name in one.split("/")]


def accepts(proof: Proof, model: Path) -> bool:
    """Return whether the checkpoint ``model`` is of an architecture that the proof is for."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return not set(proof.architectures).isdisjoint(config.get("architectures") or ())


def choose(job: Job, proof: Proof, asked: frozenset[str] | None) -> frozenset[str]:
    """Return the scenarios of ``proof`` that this run has to report."""
    impossible = proof.impossible if job.model is not None else {}
    if asked is None:
        return frozenset(proof.scenarios) - proof.skipped(job) - impossible.keys()
    chosen = asked.intersection(proof.scenarios)
    for name in sorted(chosen & impossible.keys()):
        raise events.WrongOptions(
            f"the scenario {name} {impossible[name]}", "leave --model or that scenario out"
        )
    return chosen


def write_plan(job: Job, plan: Plan) -> None:
    """Leave the plan for the guardian and the stages, and tell the host."""
    (job.scratch / PLAN).write_text(json.dumps(plan), encoding="utf-8")
    stages = [*job.stages, *plan["stages"]]
    events.send(
        "plan",
        stages=stages,
        scenarios=plan["scenarios"],
        own=plan["owned"],
        architectures=plan["architectures"],
    )


def read_plan(scratch: Path) -> Plan:
    """Return the plan that was left, or an empty one."""
    file = scratch / PLAN
    if not file.exists():
        return EMPTY
    plan: Plan = json.loads(file.read_text(encoding="utf-8"))
    return plan
