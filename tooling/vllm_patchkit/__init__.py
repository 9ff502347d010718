"""Patch management and reproducible builds for vLLM forks.

The functions below are the library: types in, reports out, nothing printed. Each is imported when
it is first used, so that ``import vllm_patchkit`` costs nothing.
"""

from __future__ import annotations

# What typing says, whose import would take longer than all else here.
TYPE_CHECKING = False

__all__ = [
    "ExitCode",
    "PatchkitError",
    "__version__",
    "apply",
    "build_wheel",
    "check_stack",
    "check_wheel",
    "errors",
    "find_stack",
    "find_target",
    "identify",
    "identify_contents",
    "lint",
    "lock",
    "read_lock",
    "read_stack",
    "revert",
    "status",
    "verify",
]

if TYPE_CHECKING:
    from vllm_patchkit import errors
    from vllm_patchkit.errors import ExitCode, PatchkitError
    from vllm_patchkit.operations.stacks import lint, lock
    from vllm_patchkit.operations.targets import (
        apply,
        identify,
        identify_contents,
        revert,
        status,
        verify,
    )
    from vllm_patchkit.stack.lint import check_stack
    from vllm_patchkit.stack.read import find_stack, read_lock, read_stack
    from vllm_patchkit.targets.find import find_target
    from vllm_patchkit.version import __version__
    from vllm_patchkit.wheel.build import build_wheel
    from vllm_patchkit.wheel.check import check_wheel

_HOMES = {
    "ExitCode": "errors",
    "__version__": "version",
    "PatchkitError": "errors",
    "apply": "operations.targets",
    "build_wheel": "wheel.build",
    "check_stack": "stack.lint",
    "check_wheel": "wheel.check",
    "find_stack": "stack.read",
    "find_target": "targets.find",
    "identify": "operations.targets",
    "identify_contents": "operations.targets",
    "lint": "operations.stacks",
    "lock": "operations.stacks",
    "read_lock": "stack.read",
    "read_stack": "stack.read",
    "revert": "operations.targets",
    "status": "operations.targets",
    "verify": "operations.targets",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "errors":
        return import_module(f"{__name__}.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
