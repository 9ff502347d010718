"""Which findings a stack's keepers have decided to live with. Pure.

What keeps a stack from being read, applied or told apart cannot be ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.folder import METADATA

ALWAYS = frozenset(
    {
        Code.METADATA_UNREADABLE,
        Code.SERIES_UNREADABLE,
        Code.SERIES_INCOMPLETE,
        Code.REQUIREMENT_INVALID,
        Code.IGNORE_INVALID,
        Code.DIFF_MALFORMED,
        Code.OUTSIDE_ROOT,
        Code.DOES_NOT_APPLY,
        Code.DOES_NOT_COMPILE,
        Code.LOCK_MISSING,
        Code.LOCK_MALFORMED,
        Code.LOCK_OUTDATED,
        Code.BUMP_NEEDED,
    }
)
IGNORABLE = frozenset(code.value for code in Code if code not in ALWAYS)


def split_findings(
    findings: Iterable[Finding], ignored: Collection[str]
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that count, and those whose code is ignored."""
    kept: list[Finding] = []
    dropped: list[Finding] = []
    for finding in findings:
        ignore = finding.code.value in ignored and finding.code not in ALWAYS
        (dropped if ignore else kept).append(finding)
    return kept, dropped


def check_ignores(ignores: Mapping[str, str], findings: Collection[Finding]) -> list[Finding]:
    """Return what is wrong with a stack's own list of ignored codes."""
    found = {finding.code.value for finding in findings}
    faults = []
    for code, reason in ignores.items():
        if code not in IGNORABLE:
            known = code in {one.value for one in Code}
            faults.append(f"{code} cannot be ignored" if known else f"there is no code {code!r}")
        elif not reason.strip():
            faults.append(f"{code} is ignored without a reason")
        elif code not in found:
            faults.append(f"{code} is ignored, and nothing has it any more")
    return [Finding(Code.IGNORE_INVALID, METADATA, f"[lint.ignore] {fault}") for fault in faults]
