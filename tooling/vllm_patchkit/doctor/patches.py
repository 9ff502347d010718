"""What the state of the patches means for somebody who wants to run vLLM."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.doctor.model import Finding, Severity
from vllm_patchkit.errors import PatchkitError

MEANING = {
    "partial": ("only some of the patches are in", "vllm-patchkit apply, or revert"),
    "drifted": ("files were edited since", "vllm-patchkit verify shows which; revert --keep-edits"),
    "other-version": ("the stack was cut from another release", "pip install the stack's base"),
    "foreign-stack": ("another stack is applied", "vllm-patchkit revert it first"),
}


def check_patches(stack: str, python: Path) -> list[Finding]:
    """Return what is wrong with the stack's files in the environment of ``python``.

    A pristine or fully patched vLLM has nothing wrong; a vLLM that cannot be found is reported
    by the rules about what is installed.
    """
    from vllm_patchkit.operations import verify

    try:
        report = verify(stack, python=python)
    except PatchkitError as error:
        return [_interrupted(error)] if error.hint and "recover" in error.hint else []
    if report.state not in MEANING:
        return []
    meaning, remedy = MEANING[report.state]
    odd = [f.path for f in report.files if f.state in {"drifted", "missing", "extra"}]
    listed = f": {', '.join(odd[:5])}" + (f" and {len(odd) - 5} more" if odd[5:] else "")
    return [
        Finding(
            code=f"patches-{report.state}",
            severity=Severity.ERROR if report.state != "other-version" else Severity.WARNING,
            what=f"{stack}: {meaning}{listed if odd else ''}",
            why="guided requests fail at import or, worse, run other code than was tested",
            remedy=remedy,
        )
    ]


def _interrupted(error: PatchkitError) -> Finding:
    return Finding(
        code="patches-interrupted",
        severity=Severity.ERROR,
        what=error.message,
        why="an apply or revert was killed midway",
        remedy=error.hint or "vllm-patchkit status",
    )
