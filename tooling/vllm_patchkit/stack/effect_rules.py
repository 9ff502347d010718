"""The rules that need the base: what the patches do to it, and whether the lock says so."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from vllm_patchkit.diff.model import Read
from vllm_patchkit.errors import HunkMismatch, PatchFormatError
from vllm_patchkit.stack.apply import Step, step_patches
from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.folder import LOCK, METADATA
from vllm_patchkit.stack.lock import make_lock
from vllm_patchkit.stack.model import Lock, Stack


def check_effects(stack: Stack, read_base: Read) -> list[Finding]:
    """Return the patch that does not apply exactly, if one does not, and what does not compile."""
    findings: list[Finding] = []
    name = LOCK
    steps = step_patches(stack.patches, read_base)
    for patch in stack.patches:
        name = patch.name
        try:
            findings += _check_compiles(next(steps))
        except (HunkMismatch, PatchFormatError) as error:
            message = error.message.removeprefix(f"{name}: ")
            findings.append(Finding(Code.DOES_NOT_APPLY, name, message))
            break
    return findings


def _check_compiles(step: Step) -> Iterator[Finding]:
    for path, content in step.after.items():
        if not path.endswith(".py") or content is None:
            continue
        fault = compile_fault(content, path)
        if fault is not None:
            yield Finding(Code.DOES_NOT_COMPILE, step.patch.name, f"{path}: {fault}")


def compile_fault(source: bytes, path: str) -> str | None:
    """Return why ``source`` does not byte-compile with this Python, or None where it does."""
    with warnings.catch_warnings():
        # Upstream's escape sequences in old docstrings are none of a patch's business.
        warnings.simplefilter("ignore")
        try:
            compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            return f"line {line}: {error.args[0]}" if line else str(error)
    return None


def check_lock(stack: Stack, lock: Lock, read_base: Read) -> Iterator[Finding]:
    """Yield what the lock says otherwise than the stack is; the stack is known to apply."""
    fresh = make_lock(stack, read_base, previous=lock)
    for difference in _differences(lock, fresh):
        yield Finding(Code.LOCK_OUTDATED, LOCK, difference)
    recorded = lock.released.get(stack.version)
    if recorded is not None and recorded != fresh.digest:
        yield Finding(
            Code.BUMP_NEEDED,
            METADATA,
            f"version {stack.version} was released with other content (digest "
            f"{recorded[:12]}, now {fresh.digest[:12]})",
        )
    for release, hashes in sorted(lock.known.items()):
        missing = [file.path for file in fresh.files if file.path not in hashes]
        if missing:
            yield Finding(
                Code.KNOWN_INCOMPLETE,
                LOCK,
                f"its hashes of {release} lack {len(missing)} files: {missing[0]} ...",
            )


def _differences(lock: Lock, fresh: Lock) -> Iterator[str]:
    for field in ("stack", "version", "base_version"):
        old, new = getattr(lock, field), getattr(fresh, field)
        if old != new:
            yield f"it says {field} {old}, the stack {new}"
    old_patches = {patch.name: patch for patch in lock.patches}
    new_patches = {patch.name: patch for patch in fresh.patches}
    for name in sorted(old_patches.keys() | new_patches.keys()):
        if name not in new_patches:
            yield f"it has {name}, the stack has not"
        elif name not in old_patches:
            yield f"it lacks {name}"
        elif old_patches[name] != new_patches[name]:
            yield f"{name} or what it changes is other than locked"
    if lock.files != fresh.files and lock.patches == fresh.patches:
        yield "its net effect is not that of its patches"
    if list(old_patches) != list(new_patches) and old_patches.keys() == new_patches.keys():
        yield "its patches are in another order"
    if lock.digest != fresh.digest and lock.patches == fresh.patches:
        yield f"it was made of another {METADATA}"
