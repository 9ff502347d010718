"""One stage in its process: ``python -m patchkit_worker.stage NAME SCRATCH``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from . import events, lifeline
from .general.proof import general_proof
from .job import Job
from .own import load_proof
from .plan import GENERAL

# Here, not under __main__: a child that vLLM spawns imports this module, and must be armed too.
lifeline.die_with_parent()

STAGES = ("artifact", "beforehand", "bench", "upstream")


def main(name: str, scratch: Path) -> int:
    """Run one stage; return 0 unless it could not come to its end."""
    try:
        job = Job.read(scratch)
        find_stage(name, job)(job)
    except events.EnvironmentProblem as problem:
        fields = {"kind": problem.kind, "message": problem.message, "hint": problem.hint}
        events.send("problem", stage=name, **fields)
        return 3
    except events.WrongArtifact:
        return 4
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def find_stage(name: str, job: Job) -> Callable[[Job], None]:
    """Return what runs the stage: a module of the worker, or of a stack's proof."""
    if name in STAGES:
        run: Callable[[Job], None] = import_module(f"{__package__}.{name}").run
        return run
    home = job.homes[name]
    proof = general_proof(job) if home == GENERAL else load_proof(home)
    return next(stage.run for stage in proof.stages if stage.name == name)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
