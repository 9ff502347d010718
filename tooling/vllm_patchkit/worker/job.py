"""What the host asks for, as the stages read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run.

    :param scratch: a folder that is removed at the end; everything is written below it.
    :param stages: names of the stages, in order: ``stage.STAGES`` and, once there is a plan, those
        of the proofs.
    :param scenarios: names of the scenarios to run, or None for all; once there is a plan, the
        chosen ones.
    :param own: run what the artifact's stacks declare of their own.
    :param general: run the scenarios for any vLLM, of ``architectures`` or the usual ones.
    :param unpatched: the artifact is a release without a stack.
    :param preferred: stacks whose proof is the one that the host sent, not the artifact's.
    :param homes: stage -> stack that it is of, once there is a plan.
    :param required: stages without which nothing after them runs.
    :param model: a real checkpoint, or None for the tiny one.
    :param artifact: what identifies the artifact: ``locks`` and ``digests``, see
        ``identity.check_files``; each may be missing.
    :param bench: settings of the ``bench`` stage.
    :param upstream: of the ``upstream`` stage: ``sdist``, ``touched`` modules, ``only`` (names of
        files), ``supply`` (a folder of packages, or None) and ``limit_s`` of a file.
    """

    scratch: Path
    stages: tuple[str, ...]
    checks_only: bool = False
    own: bool = True
    general: bool = True
    architectures: tuple[str, ...] = ()
    unpatched: bool = False
    preferred: tuple[str, ...] = ()
    homes: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    device: str = "cpu"
    tensor_parallel_size: int = 1
    quantization: str | None = None
    dtype: str | None = None
    scenarios: tuple[str, ...] | None = None
    model: str | None = None
    prompt: str | None = None
    image_size: tuple[int, int] | None = None
    trust_remote_code: bool = False
    vision_tokenizer: str | None = None
    vision_factory: str | None = None
    gpu_memory_utilization: float | None = None
    port: int | None = None
    eager: bool = False
    deadline_s: float = 600.0
    artifact: Mapping[str, Any] = field(default_factory=dict)
    bench: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], scratch: Path) -> Job:
        """Return the job that the host sent."""
        known = dict(value)
        known.pop("owned", None)
        lists = {name: tuple(one) for name, one in known.items() if isinstance(one, list)}
        return cls(scratch=scratch, **{**known, **lists})

    @classmethod
    def read(cls, scratch: Path) -> Job:
        """Return the job that the guardian wrote, with the plan once there is one."""
        value: dict[str, Any] = {}
        for file in (scratch / "job.json", scratch / PLAN):
            if file.exists():
                value |= json.loads(file.read_text(encoding="utf-8"))
        return cls.from_json(value, scratch)

    def wants(self, scenario: str) -> bool:
        """Return whether the scenario was asked for."""
        return self.scenarios is None or scenario in self.scenarios
