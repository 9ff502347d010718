"""Where the stages of this proof leave things for each other."""

from __future__ import annotations

from pathlib import Path

from patchkit_worker.job import Job


def checkpoint(job: Job) -> Path:
    """Return the folder that the engine loads."""
    return Path(job.model or Path(job.scratch, "checkpoint"))


def calm_checkpoint(job: Job) -> Path:
    """Return the tiny checkpoint in bfloat16 that stage ``precision`` loads."""
    return Path(job.scratch, "checkpoint-bfloat16")


def cases_file(job: Job) -> Path:
    """Return where stage ``prepare`` leaves the cases."""
    return Path(job.scratch, "cases.json")
