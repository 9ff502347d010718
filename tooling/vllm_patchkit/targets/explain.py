"""Why a stack cannot be applied to a target, in words."""

from __future__ import annotations

from vllm_patchkit.errors import TargetError
from vllm_patchkit.stack.locked import LockedStack
from vllm_patchkit.stack.modes import says_executable
from vllm_patchkit.targets.model import Target
from vllm_patchkit.targets.state import Report

SHOWN_FILES = 20

SHOWN_DIGITS = 12


def require_start(target: Target, source: LockedStack, report: Report, count: int) -> int:
    """Return how many patches the target has, if the asked number can be reached from there.

    :raises TargetError: saying what stands in the way, file by file.
    """
    if report.applied is None:
        raise TargetError(
            f"{target.location}: {explain_state(report, source)}\n{explain_files(report)}",
            hint=_hint(report, source),
        )
    if report.applied > count:
        raise TargetError(
            f"{target.location} has {report.applied} patches of {source.stack.name}, "
            f"which is more than the {count} asked for",
            hint="take them off first: vllm-patchkit revert",
        )
    return report.applied


def explain_state(report: Report, source: LockedStack) -> str:
    """Return, in a sentence, why a stack cannot be applied to a target in this state."""
    base = source.base
    if report.state == "other-version":
        return f"its files are those of {report.release}; {source.stack.name} is for {base}"
    if report.state == "foreign-stack":
        return f"{report.notes[-1]}, so its files are not those of {base}"
    if report.state == "partial":
        return f"some patches of {source.stack.name} are in some files only"
    bad = [file for file in report.files if file.state in ("drifted", "missing", "extra")]
    return f"{len(bad)} of {len(report.files)} files are neither those of {base} nor patched ones"


def explain_files(report: Report) -> str:
    """Return one line for each file that stands in the way."""
    mixed = report.state == "partial"
    bad = [one for one in report.files if mixed or one.state in ("drifted", "missing", "extra")]
    lines = [
        f"  {one.path}: "
        + (one.note if mixed else f"expected {_short(one.expected)}, found {_short(one.found)}")
        for one in bad[:SHOWN_FILES]
    ]
    if len(bad) > SHOWN_FILES:
        lines.append(f"  and {len(bad) - SHOWN_FILES} more")
    return "\n".join(lines)


def _hint(report: Report, source: LockedStack) -> str:
    if report.state == "foreign-stack":
        return "take it off first: vllm-patchkit revert"
    base = source.stack.base
    if not base.distribution:
        return f"put back the files of {source.base}"
    release = f"{base.distribution}=={base.version}"
    return f"reinstall the base: pip install --force-reinstall --no-deps {release}"


def _short(digest: str | None) -> str:
    if digest is None:
        return "no file"
    mode = ", executable" if says_executable(digest) else ""
    return f"sha256 {digest[:SHOWN_DIGITS]}{mode}"
