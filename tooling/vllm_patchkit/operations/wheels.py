"""Applying a stack to a wheel: a patched wheel is built beside it."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.diff.model import Contents
from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.inplace.changes import describe_changes, pair
from vllm_patchkit.stack.locked import LockedStack
from vllm_patchkit.targets.answers import ChangeReport, TargetInfo
from vllm_patchkit.targets.explain import require_start
from vllm_patchkit.targets.inspect import inspect_target
from vllm_patchkit.targets.wheel import WheelTarget

FLAVOR = "cuda"
"""The flavor that takes a base as it is; others combine several wheels."""


def apply_to_wheel(
    target: WheelTarget,
    source: LockedStack,
    count: int,
    *,
    dry_run: bool,
    output: Path | None,
    console: Console,
) -> ChangeReport:
    """Build the patched wheel of a wheel; the wheel itself stays as it is.

    :param output: the folder for the new wheel; None is that of the wheel.
    :raises UsageError: only a part of the stack was asked for.
    :raises WheelError: the wheel is malformed.
    """
    if count != source.total:
        raise UsageError(
            f"a wheel is built with all {source.total} patches of {source.stack.name}",
            hint="--upto works on environments and folders",
        )
    report = inspect_target(target, source.lock)
    start = require_start(target, source, report, count)
    patched = {} if start == count else source.apply(target.read)
    path = _build(target, source, patched, output, console) if patched and not dry_run else None
    return ChangeReport(
        operation="apply",
        target=TargetInfo.from_target(target),
        stack=source.stack.name,
        label=source.label,
        before=start,
        after=count,
        total=count,
        done=path is not None,
        dry_run=dry_run,
        changes=describe_changes(pair(patched, target.read)),
        output=None if path is None else str(path),
        notes=report.notes,
    )


def _build(
    target: WheelTarget,
    source: LockedStack,
    patched: Contents,
    output: Path | None,
    console: Console,
) -> Path:
    from vllm_patchkit.wheel.build import write_wheel
    from vllm_patchkit.wheel.ingredients import find_ingredients, make_order, open_recipe

    order = make_order(source, FLAVOR, None)
    found = find_ingredients(order, target.location, console)
    with open_recipe(order, found, console, base_archive=target.archive) as recipe:
        return write_wheel(recipe, patched, output or target.location.parent, console).path
