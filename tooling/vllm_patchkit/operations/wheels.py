"""Applying a stack to a wheel: a patched wheel is built beside it."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.inplace.changes import Changes, describe_changes, pair
from vllm_patchkit.stack.locked import Source, patched_contents
from vllm_patchkit.targets.answers import ChangeReport, TargetInfo
from vllm_patchkit.targets.explain import require_start
from vllm_patchkit.targets.inspect import inspect_target
from vllm_patchkit.targets.model import Target

FLAVOR = "cuda"
"""The flavor that takes a base as it is; others combine several wheels."""


def apply_to_wheel(
    target: Target,
    folder: Path,
    source: Source,
    count: int,
    *,
    dry_run: bool,
    output: Path | None,
    console: Console,
) -> ChangeReport:
    """Build the patched wheel of a wheel; the wheel itself stays as it is.

    :param folder: where the stack lies.
    :param output: the folder for the new wheel; None is that of the wheel.
    :raises UsageError: only a part of the stack was asked for.
    :raises WheelError: the wheel is malformed.
    """
    stack = source.stack
    if count != len(stack.patches):
        raise UsageError(
            f"a wheel is built with all {len(stack.patches)} patches of {stack.name}",
            hint="--upto works on environments and folders",
        )
    report = inspect_target(target, source.lock).report
    start = require_start(target, source, report, count)
    changes: Changes = {}
    path: Path | None = None
    if start != count:
        contents = patched_contents(stack, source.lock, target.read, start=start, stop=count)
        changes = pair(contents, target.read)
        if not dry_run:
            path = _build(target.location, folder, output, console)
    return ChangeReport(
        operation="apply",
        target=TargetInfo.from_target(target),
        stack=stack.name,
        label=source.label,
        before=start,
        after=count,
        total=count,
        done=path is not None,
        dry_run=dry_run,
        changes=describe_changes(changes),
        output=None if path is None else str(path),
        notes=report.notes,
    )


def _build(wheel: Path, folder: Path, output: Path | None, console: Console) -> Path:
    from vllm_patchkit.wheel.build import build_wheel

    return build_wheel(folder, FLAVOR, output or wheel.parent, base=wheel, console=console).path
