"""What the state of the patches means for somebody who wants to run vLLM."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.doctor.model import Finding
from vllm_patchkit.errors import PatchkitError, first_few

MEANING = {
    "partial": ("only some of the patches are in", "vllm-patchkit apply, or revert"),
    "drifted": ("files were edited since", "vllm-patchkit verify shows which; revert --keep-edits"),
    "other-version": ("these are not the files of its base", "pip install the base release"),
    "foreign-stack": ("another stack is applied", "vllm-patchkit revert it first"),
}
ODD = {"drifted", "missing", "extra"}


def check_patches(stack: Path | None, python: Path) -> list[Finding]:
    """Return what is wrong with the stack's files in the environment of ``python``.

    :param stack: its folder; None is the only one that fits.

    A pristine or fully patched vLLM has nothing wrong. Where no vLLM is found, the rules about
    what is installed say so.
    """
    from vllm_patchkit.operations.targets import verify

    try:
        found = verify(python=str(python), stack=stack)
    except PatchkitError:
        return []
    if found.interruption is not None:
        return [
            Finding(
                code="patches-interrupted",
                what=f"{found.report.stack}: an apply or a revert was killed midway",
                why="some files are old and some are new",
                remedy="vllm-patchkit apply (or revert) finishes or undoes it",
            )
        ]
    if found.report.state not in MEANING:
        return []
    meaning, remedy = MEANING[found.report.state]
    odd = [verdict.path for verdict in found.report.files if verdict.state in ODD]
    listed = f": {first_few(odd, 5)}" if odd else ""
    return [
        Finding(
            code=f"patches-{found.report.state}",
            what=f"{found.report.stack}: {meaning}{listed}",
            why="guided requests fail at import or, worse, run other code than was tested",
            remedy=remedy,
        )
    ]
