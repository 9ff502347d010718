"""Which scenarios and architectures a wheel has, asked of the wheel before it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import UsageError
from vllm_patchkit.launch.session import Packages, listen
from vllm_patchkit.launch.subject import Subject
from vllm_patchkit.stack.applied import APPLIED_FOLDER

STAGE = "names"
REGISTRY = "vllm/model_executor/models/registry.py"


def require_names(wheel: Path, python: Path, job: Mapping[str, Any], packages: Packages) -> None:
    """Do nothing if the wheel has what the job names, as far as that is known without vLLM.

    :param python: an interpreter for the worker; it needs neither the wheel nor vLLM.
    :raises UsageError: there is no such scenario or architecture.
    """
    subject = Subject(kind="wheel", location=str(wheel), argv=(str(python), "-c"))
    asked = {**job, "stages": (STAGE,)}
    with listen(subject, asked, packages, read_claims(wheel)) as events:
        for event in events:
            if event["event"] == "problem" and event["kind"] == "usage":
                raise UsageError(event["message"], hint=event["hint"])


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
