"""What would end a run of a wheel, found out before the wheel is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import HostError, UsageError
from vllm_patchkit.launch.session import Packages, listen
from vllm_patchkit.launch.subject import Subject
from vllm_patchkit.stack.applied import APPLIED_FOLDER

STAGE = "beforehand"
ERRORS = {"usage": UsageError, "environment": HostError}
REGISTRY = "vllm/model_executor/models/registry.py"


def require_possible(wheel: Path, python: Path, job: Mapping[str, Any], packages: Packages) -> None:
    """Do nothing if the wheel has what the job names, and this machine what the job needs.

    :param python: an interpreter for the worker; it needs neither the wheel nor vLLM.
    :raises UsageError: there is no such scenario or architecture.
    :raises HostError: too little memory, a port in use.
    """
    subject = Subject(kind="wheel", location=str(wheel), argv=(str(python), "-c"))
    asked = {**job, "stages": (STAGE,)}
    with listen(subject, asked, packages, read_claims(wheel)) as events:
        for event in events:
            if event["event"] == "problem":
                raise ERRORS[event["kind"]](event["message"], hint=event["hint"])


def read_claims(wheel: Path) -> dict[str, bytes]:
    """Return what of a wheel says which scenarios and architectures there are, by path."""
    with Archive(wheel) as archive:
        return {
            name: archive.read(name)
            for name in (member.name for member in archive.members)
            if f".dist-info/{APPLIED_FOLDER}/" in name
            or name.endswith(".dist-info/RECORD")
            or name == REGISTRY
        }
