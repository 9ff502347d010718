"""What this stack declares: ``PROOF``, by the contract of docs/smoke.md."""

from __future__ import annotations

from patchkit_worker.contract import Proof, Stage
from patchkit_worker.job import Job

from . import guidance, offline, precision, prepare, server, streaming

CONTRACT = 2
OFFLINE = (*offline.ALONE, "sampled", "mixed")
TINY_ONLY = "compares with an oracle of the tiny model"


def skipped(job: Job) -> frozenset[str]:
    """bfloat16 is what a GPU runs; on a CPU it is slow and is asked for by name."""
    return frozenset() if job.device == "cuda" else frozenset({"precision"})


PROOF = Proof(
    stages=(
        Stage(name="prepare", run=prepare.run),
        Stage(name="offline", run=offline.run, scenarios=OFFLINE),
        Stage(name="streaming", run=streaming.run, scenarios=("streaming",)),
        Stage(name="server", run=server.run, scenarios=("server",)),
        Stage(name="precision", run=precision.run, scenarios=("precision",)),
    ),
    skipped=skipped,
    # With a real checkpoint every scenario draws its tokens, and no oracle knows them.
    impossible={"sampled": TINY_ONLY, "precision": TINY_ONLY},
    architectures=("Emu3ForCausalLM",),
    bench=guidance.run,
)
