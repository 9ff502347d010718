"""What a stack's own proof is made of: ``PROOF`` in the package that ``[smoke]`` names.

The package is imported in the target's interpreter as ``patchkit_own_<stack>``; docs/smoke.md is
written for whoever makes one. Importing it must import neither torch nor vllm: functions do that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .events import scenario as report
from .job import Job

__all__ = ["Proof", "Stage", "report"]
VERSION = 2
"""Raised when a package may need what an older tool lacks; what it had once stays.

2: ``engine`` and ``events.scenario``.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Scenarios that share one process of the target's interpreter.

    :param name: of the stage in the report.
    :param run: called in that process; reports every scenario that ``job.wants``.
    :param scenarios: their names. A stage without any makes what the others use, checkpoints and
        what an oracle says of them; where it fails, nothing after it runs.
    """

    name: str
    run: Callable[[Job], None]
    scenarios: tuple[str, ...] = ()


def nothing_skipped(job: Job) -> frozenset[str]:
    """Return that every scenario runs."""
    return frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """The stages of a stack, in order.

    :param skipped: returns the scenarios that run only where they are asked for by name, on this
        device and with this model.
    :param impossible: scenario -> why it cannot run with ``--model``.
    :param architectures: of models that the stack adds: the registry has to load each, and a real
        checkpoint (``--model``) of one of them is for these scenarios.
    :param bench: what ``bench generate`` measures of this stack.
    """

    stages: tuple[Stage, ...] = ()
    skipped: Callable[[Job], frozenset[str]] = nothing_skipped
    impossible: dict[str, str] = field(default_factory=dict)
    architectures: tuple[str, ...] = ()
    bench: Callable[[Job], None] | None = None

    @property
    def scenarios(self) -> tuple[str, ...]:
        """The names of all scenarios, in order."""
        return tuple(name for stage in self.stages for name in stage.scenarios)
