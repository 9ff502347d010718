"""One stage in its process: ``python -m patchkit_worker.stage NAME SCRATCH``."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pathlib import Path

from . import events, lifeline
from .job import Job

# Here, not under __main__: a child that vLLM spawns imports this module, and must be armed too.
lifeline.die_with_parent()

STAGES = {
    "artifact": "artifact",
    "prepare": "prepare",
    "offline": "offline",
    "streaming": "streaming",
    "server": "server",
    "precision": "precision",
    "bench": "bench",
}


def main(name: str, scratch: Path) -> int:
    """Run one stage; return 0 unless it could not come to its end."""
    module = import_module(f"{__package__}.{STAGES[name]}")
    try:
        module.run(Job.read(scratch))
    except events.EnvironmentProblem as problem:
        events.send("problem", stage=name, message=problem.message, hint=problem.hint)
        return 3
    except events.WrongArtifact:
        return 4
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
