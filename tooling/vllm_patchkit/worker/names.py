"""Stage ``names``: does what was asked for exist? It needs no vllm, only what a wheel says of it.

That lies beside this package: the dist-info, as far as it is the toolkit's, and vLLM's registry.
"""

from __future__ import annotations

import re
from importlib import metadata

from .artifact import usual_architectures
from .general.architectures import find_architecture
from .identity import Installed, read_records
from .job import Job
from .own import CODE, load_proofs
from .plan import make_plan

REGISTRY = CODE / "vllm" / "model_executor" / "models" / "registry.py"
NAMED = re.compile(r"""(?m)^\s+["'](\w+)["']:""")


def run(job: Job) -> None:
    """Do nothing if all names stand for something.

    :raises events.WrongOptions: one does not.
    """
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
