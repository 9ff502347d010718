"""The rules of a good stack. Every rule yields findings and none raises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vllm_patchkit.diff.model import Read
from vllm_patchkit.errors import PatchFormatError, StackError
from vllm_patchkit.stack.effect_rules import check_effects, check_lock
from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.folder import LOCK, METADATA, SERIES, StackFiles, make_patch
from vllm_patchkit.stack.lock import parse_lock
from vllm_patchkit.stack.message import parse_message
from vllm_patchkit.stack.metadata import parse_metadata, with_patches
from vllm_patchkit.stack.model import Lock, Metadata, Patch, Stack
from vllm_patchkit.stack.patch_rules import check_content, check_header
from vllm_patchkit.stack.series import parse_series, patch_name, patch_number


def check_stack(stack: Stack, lock: Lock | None, read_base: Read) -> list[Finding]:
    """Return every finding on a stack that could be read.

    :param lock: None where there is none.
    :param read_base: gives the base's bytes, or None where it has no such file.
    """
    findings = _check_parts(stack, broken=frozenset())
    findings += check_effects(stack, read_base)
    applies = not any(finding.code is Code.DOES_NOT_APPLY for finding in findings)
    if lock is None:
        findings.append(Finding(Code.LOCK_MISSING, LOCK, "the stack has no lock"))
    elif applies:
        findings += check_lock(stack, lock, read_base)
    return findings


def check_files(files: StackFiles, lock: bytes | None, read_base: Read) -> list[Finding]:
    """Return every finding on a stack folder, whatever its state.

    :param lock: the bytes of ``lock.json``, None where there is none.
    """
    draft = _draft_stack(files)
    if draft.stack is None:
        return draft.findings
    lock_value, lock_findings = _draft_lock(lock)
    if draft.broken:
        # Patches that do not parse cannot be applied, so that nothing can be said of the effects.
        return draft.findings + _check_parts(draft.stack, draft.broken) + lock_findings
    findings = check_stack(draft.stack, lock_value, read_base)
    if lock_findings:
        findings = [finding for finding in findings if finding.code is not Code.LOCK_MISSING]
    return draft.findings + findings + lock_findings


@dataclass(frozen=True, kw_only=True, slots=True)
class _Draft:
    """As much of a stack as can be read; ``broken`` names the patches whose diff cannot."""

    stack: Stack | None
    findings: list[Finding]
    broken: frozenset[str] = frozenset()


def _draft_stack(files: StackFiles) -> _Draft:
    findings = []
    metadata: Metadata | None = None
    names: tuple[str, ...] | None = None
    try:
        metadata = parse_metadata(files.metadata, METADATA)
    except StackError as error:
        findings.append(Finding(Code.METADATA_UNREADABLE, METADATA, error.message))
    try:
        names = parse_series(files.series, SERIES)
    except StackError as error:
        findings.append(Finding(Code.SERIES_UNREADABLE, SERIES, error.message))
    if metadata is None or names is None:
        return _Draft(stack=None, findings=findings)
    findings += _check_series_files(names, files)
    patches = []
    broken = set()
    for name in dict.fromkeys(names):
        if name in files.patches:
            patch, fault = _draft_patch(name, files.patches[name])
            patches.append(patch)
            if fault is not None:
                findings.append(fault)
                broken.add(name)
    return _Draft(
        stack=with_patches(metadata, tuple(patches), files.metadata),
        findings=findings,
        broken=frozenset(broken),
    )


def _draft_patch(name: str, data: bytes) -> tuple[Patch, Finding | None]:
    try:
        return make_patch(name, data), None
    except PatchFormatError as error:
        message = parse_message(data)
        patch = Patch(name=name, number=patch_number(name), message=message, files=(), data=data)
        return patch, Finding(Code.DIFF_MALFORMED, name, error.message)


def _draft_lock(data: bytes | None) -> tuple[Lock | None, list[Finding]]:
    if data is None:
        return None, []
    try:
        return parse_lock(data, LOCK), []
    except StackError as error:
        return None, [Finding(Code.LOCK_MALFORMED, LOCK, error.message)]


def _check_series_files(names: tuple[str, ...], files: StackFiles) -> Iterator[Finding]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Finding(Code.SERIES_INCOMPLETE, SERIES, f"{name} stands there twice")
    for name in names:
        if name not in files.patches:
            yield Finding(Code.SERIES_INCOMPLETE, SERIES, f"{name} does not exist")
    for name in files.patches:
        if name not in names:
            yield Finding(Code.SERIES_INCOMPLETE, name, "the patch is not in series")


def _check_parts(stack: Stack, broken: frozenset[str]) -> list[Finding]:
    findings = [*_check_numbering(stack), *_check_coverage(stack), *_check_probes(stack)]
    for patch in stack.patches:
        findings += check_header(patch, stack.subsystems)
        if patch.name not in broken:
            findings += check_content(patch, stack.base.root)
    return findings


def _check_numbering(stack: Stack) -> Iterator[Finding]:
    for place, patch in enumerate(stack.patches, 1):
        if patch.number != place:
            message = f"the patch is number {place} of the series, its name says {patch.number}"
            yield Finding(Code.SERIES_NUMBERING, patch.name, message)
        subject = patch.message.subject
        expected = patch_name(patch.number, subject)
        if subject and patch.name != expected:
            message = f"its subject makes it {expected}"
            yield Finding(Code.NAME, patch.name, message)


def _check_coverage(stack: Stack) -> Iterator[Finding]:
    count = len(stack.patches)
    if stack.patch_count is not None and stack.patch_count != count:
        message = f"patch-count is {stack.patch_count}, the series has {count}"
        yield Finding(Code.PATCH_COUNT, METADATA, message)
    named = {
        value
        for patch in stack.patches
        for key, value in patch.message.trailers
        if key.lower() == "subsystem"
    }
    for subsystem in stack.subsystems:
        if subsystem not in named:
            message = f"no patch belongs to subsystem {subsystem!r}"
            yield Finding(Code.SUBSYSTEM_UNCOVERED, METADATA, message)


def _check_probes(stack: Stack) -> Iterator[Finding]:
    probed = {probe.patch for probe in stack.probes}
    numbers = {f"{patch.number:04d}" for patch in stack.patches}
    for patch in stack.patches:
        if f"{patch.number:04d}" not in probed:
            yield Finding(Code.PROBE_MISSING, METADATA, f"no probe looks for {patch.name}")
    for probe in stack.probes:
        if probe.patch not in numbers:
            message = f"a probe is for {probe.patch!r}, which is no patch of the series"
            yield Finding(Code.PROBE_INVALID, METADATA, message)
        fault = _expression_fault(probe.expression)
        if fault is not None:
            message = f"the probe of {probe.patch} is no expression: {fault}"
            yield Finding(Code.PROBE_INVALID, METADATA, message)
        for name in probe.imports:
            if not all(part.isidentifier() for part in name.split(".")):
                message = f"the probe of {probe.patch} imports {name!r}, which is no module name"
                yield Finding(Code.PROBE_INVALID, METADATA, message)


def _expression_fault(expression: str) -> str | None:
    try:
        compile(expression.strip(), "<probe>", "eval")
    except (SyntaxError, ValueError) as error:
        return str(error)
    return None
