"""The general scenarios as a ``Proof``: for each architecture a stage, for the first one more."""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path

from .. import events
from ..contract import Proof, Stage
from ..job import Job
from ..machine import available_memory
from . import offline, serving, streaming
from .checkpoints import DEFAULT, short_name, write_checkpoint
from .engine import REAL_MODEL, cases_file, folder_of
from .oracle import Case, Oracle, make_cases, make_plain_cases, save_cases

# In float32, of a checkpoint in 16 bits, and as much again while it is loaded.
ORACLE_FACTOR = 4


def general_proof(job: Job) -> Proof:
    """Return the stages for the architectures of the job, or for its real checkpoint."""
    names = (REAL_MODEL,) if job.model else job.architectures or DEFAULT
    first = names[0]
    stages = [Stage(name="general", run=partial(prepare, architectures=names))]
    for name in names:
        short = short_name(name)
        scenarios = tuple(f"{short}/{scenario}" for scenario in offline.SCENARIOS)
        run = partial(offline.run, architecture=name)
        stages.append(Stage(name=short, run=run, scenarios=scenarios))
    for module, stage in ((streaming, streaming.NAME), (serving, serving.STAGE)):
        scenario = f"{short_name(first)}/{module.NAME}"
        run = partial(module.run, architecture=first)
        stages.append(Stage(name=f"general-{stage}", run=run, scenarios=(scenario,)))
    return Proof(stages=tuple(stages))


def prepare(job: Job, architectures: tuple[str, ...]) -> None:
    """Write the checkpoints that the scenarios need, and what transformers answers."""
    import torch

    torch.set_num_threads(1)
    for name in architectures:
        short = short_name(name)
        if not any(scenario.startswith(f"{short}/") for scenario in job.scenarios or ()):
            continue
        events.note("general", f"transformers: {short}")
        folder = folder_of(job, name)
        if job.model is not None and not fits(Path(job.model)):
            save_cases(make_plain_cases(folder), cases_file(job, name))
            detail = "too large for transformers in float32 in this machine's memory"
            events.check("general", f"{short}: no oracle", True, detail)
            continue
        cases = make_cases(Oracle(folder)) if job.model else make_tiny(name, folder)
        save_cases(cases, cases_file(job, name))
        margin = min(case.margin for case in cases)
        detail = f"{len(cases)} requests, smallest margin {margin:.2g}"
        events.check("general", f"{short}: answers of transformers", True, detail)


def make_tiny(architecture: str, folder: Path) -> list[Case]:
    """Write a tiny model and return what transformers answers.

    :raises events.WrongOptions: transformers cannot make or run one so small.
    """
    try:
        write_checkpoint(architecture, folder)
        return make_cases(Oracle(folder))
    except Exception as error:
        traceback.print_exc()
        raise events.WrongOptions(
            f"{architecture}: transformers gives no tiny model to compare with "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]})",
            "name another --architecture, or give a checkpoint of it with --model",
        ) from None


def fits(model: Path) -> bool:
    """Return whether transformers can run the checkpoint in float32 beside all else."""
    size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    available = available_memory()
    return available is None or ORACLE_FACTOR * size < available
