"""Stage ``upstream``: the release's own tests of what a stack touches, file by file.

The tests come out of the release's sdist, into the run's folder. Each file has a process of its own
and a time limit; how it ends, and how each of its tests does, is reported and not judged here.
"""

from __future__ import annotations

import os
from pathlib import Path

from .. import events, lifeline
from ..job import Job
from .choose import choose, keep
from .run import preload, run_file
from .stand_in import write_hub
from .unpack import unpack

STAGE = "upstream"


def run(job: Job) -> None:
    """Run the chosen files one after another, and report each.

    :raises events.WrongOptions: no test file was chosen.
    """
    root = job.scratch / "upstream"
    unpack(Path(job.upstream["sdist"]), root)
    chosen = keep(choose(root, job.upstream["touched"]), job.upstream["only"])
    if not chosen:
        raise events.WrongOptions(
            "no test file of the release imports what the stack touches, or has the name given",
            "--upstream-file takes the end of a file's path; without it all are taken",
        )
    _prepare(job)
    for number, (file, modules) in enumerate(chosen.items(), 1):
        events.note(STAGE, f"{file} ({number} of {len(chosen)})")
        ended = run_file(root, file, job.upstream["supply"], job.upstream["limit_s"])
        events.send("tests", file=file, modules=modules, **ended)


def _prepare(job: Job) -> None:
    """Set up what all files share: stand-ins for models of the hub, caches in the run's folder."""
    hub = job.scratch / "hub"
    # Before anything imports huggingface_hub, which reads them once.
    os.environ |= {"HF_HOME": str(hub), "HF_HUB_CACHE": str(hub)}
    os.environ |= {"VLLM_CACHE_ROOT": str(job.scratch / "tmp" / "vllm")}
    lifeline.adopt_orphans()
    write_hub(hub)
    preload()
