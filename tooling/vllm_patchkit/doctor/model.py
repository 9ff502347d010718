"""What a diagnosis says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

Facts = dict[str, Any]


class Severity(str, Enum):
    """How much a finding matters: an error stops vLLM, a warning may, a note explains."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with an environment.

    :param code: stable name, documented in ``docs/doctor.md``.
    :param what: what was found, and where.
    :param why: what it would do to vLLM.
    :param remedy: the command, or the step, that mends it.
    """

    code: str
    severity: Severity = Severity.ERROR
    what: str
    why: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelNeed:
    """What a model asks of the GPUs: its ``config.json`` and how it would be started."""

    name: str
    config: Facts
    tensor_parallel_size: int
    gpu_memory_utilization: float
    dtype_bytes: float
    max_model_len: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Everything that ``doctor`` learned: the facts by name, and the findings by weight."""

    subject: str
    summary: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that stops vLLM."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)
