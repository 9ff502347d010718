"""Stage ``beforehand``: what would end a run of a wheel, as far as that is known without vllm.

What the wheel says of itself lies beside this package: the dist-info, as far as it is the
toolkit's, and vLLM's registry.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import metadata

from .artifact import usual_architectures
from .general.architectures import find_architecture
from .identity import Installed, read_records
from .job import Job
from .machine import check_machine
from .own import CODE, load_proofs
from .plan import make_plan

REGISTRY = CODE / "vllm" / "model_executor" / "models" / "registry.py"
NAMED = re.compile(r"""(?m)^\s+["'](\w+)["']:""")


def run(job: Job) -> None:
    """Do nothing if all names stand for something and this machine has the port and the memory.

    :raises events.WrongOptions: there is no such scenario or architecture.
    :raises events.EnvironmentProblem: this machine cannot run it.
    """
    # Of GPUs only torch knows.
    check_machine(replace(job, device="cpu"))
    (dist_info,) = CODE.glob("*.dist-info")
    claimed = Installed(
        name="vllm",
        version="",
        root=CODE,
        dist_info=dist_info,
        records=tuple(read_records(dist_info)),
        distribution=metadata.Distribution.at(dist_info),
    )
    known = frozenset(NAMED.findall(REGISTRY.read_text("utf-8"))) if REGISTRY.exists() else ()
    if known:
        for name in job.architectures:
            # Whether transformers has it is for later.
            find_architecture(name, {*known, name}, known)
    make_plan(usual_architectures(job, claimed), load_proofs(claimed, job))
