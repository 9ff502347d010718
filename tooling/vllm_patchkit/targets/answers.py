"""What the operations answer: values that the command line, and other programs, render."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vllm_patchkit.stack.applied import Applied
from vllm_patchkit.targets.model import Kind, Target
from vllm_patchkit.targets.state import Report

ChangeKind = Literal["add", "modify", "delete"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetInfo:
    """Which target a report is about."""

    kind: Kind
    location: str
    distribution: str | None
    version: str | None
    editable: bool

    @classmethod
    def from_target(cls, target: Target) -> TargetInfo:
        """Return the facts about a target that a reader needs."""
        owner = target.distribution
        return cls(
            kind=target.kind,
            location=str(target.location),
            distribution=owner.name if owner else None,
            version=owner.version if owner else None,
            editable=bool(owner and owner.editable),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Interruption:
    """A transaction that did not end.

    :param running: its process is still at work.
    """

    title: str
    operation: str | None
    running: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """The state of a target; ``leftovers`` are files that patching by other means left."""

    target: TargetInfo
    report: Report
    interruption: Interruption | None
    leftovers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StackStatus:
    """One stack in a target: what was recorded (None: nothing was) and what the content says."""

    applied: Applied | None
    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusReport:
    """Everything that is applied to a target."""

    target: TargetInfo
    stacks: tuple[StackStatus, ...]
    interruption: Interruption | None
    leftovers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """One file that an operation changes; sizes in bytes."""

    path: str
    kind: ChangeKind
    size_before: int
    size_after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeReport:
    """What ``apply`` or ``revert`` did, or would do (``dry_run``).

    :param before: how many patches were in; ``after``: how many are in now.
    :param done: False where the target was already in the asked state, so nothing was changed.
    :param recovered: what was done about a transaction that had been interrupted.
    :param output: the wheel that was written, for a wheel.
    """

    operation: Literal["apply", "revert"]
    target: TargetInfo
    stack: str
    label: str
    before: int
    after: int
    total: int
    done: bool
    dry_run: bool
    changes: tuple[FileChange, ...]
    recovered: str | None = None
    output: str | None = None
    kept_edits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
