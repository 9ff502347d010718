"""Stage ``artifact``: is what would be imported the artifact, and does it hold together?

First by bytes, before anything of vLLM is imported; then by what Python really imported.
"""

from __future__ import annotations

from dataclasses import replace

from . import events
from .general.architectures import require_architectures
from .identity import Installed, check_files, find_installed
from .job import Job
from .ladder import climb
from .machine import check_machine, describe_versions
from .own import load_proofs
from .plan import make_plan, write_plan

STAGE = "artifact"


def run(job: Job) -> None:
    """Prove the artifact, look at the machine, then climb the ladder of cheap checks.

    :raises events.WrongArtifact: a byte differs or another vLLM would be imported.
    :raises events.EnvironmentProblem: no such device, too little memory, port in use.
    :raises events.WrongOptions: a scenario that was asked for does not exist.
    """
    installed = identify(job)
    proofs = load_proofs(installed, job)
    job = usual_architectures(job, installed)
    # For its refusals, before the ladder takes its time.
    make_plan(job, proofs)
    climb(installed, job, [name for proof in proofs.values() for name in proof.architectures])
    if job.model is None and not job.checks_only:
        job = replace(job, architectures=require_architectures(job.architectures))
    write_plan(job, make_plan(job, proofs))


def usual_architectures(job: Job, installed: Installed) -> Job:
    """Return the job with the architectures that the stacks declare, where it names none."""
    declared = [record.metadata.get("smoke", {}) for record in installed.records]
    usual = tuple(name for table in declared for name in table.get("architectures", ()))
    return replace(job, architectures=job.architectures or usual)


def identify(job: Job) -> Installed:
    """Return what is installed, reported and proved by its bytes, on a machine that can run it."""
    installed = find_installed()
    events.send("artifact", **describe(installed))
    if not check_files(installed, job.artifact, unpatched=job.unpatched):
        raise events.WrongArtifact
    check_machine(job)
    events.send("versions", versions=describe_versions())
    return installed


def describe(installed: Installed) -> dict[str, object]:
    """Return what the report says of the artifact."""
    return {
        "distribution": installed.name,
        "version": installed.version,
        "location": str(installed.root),
        "stacks": [
            {
                "name": record.name,
                "version": record.lock["version"],
                "digest": record.lock["digest"],
                "patches": len(record.lock["patches"]),
                "files": len(record.lock["files"]),
            }
            for record in installed.records
        ],
        "provenance": installed.provenance(),
    }
