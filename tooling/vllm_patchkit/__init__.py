"""Patch management and reproducible builds for vLLM forks.

The functions below are the library: types in, reports out, nothing printed. Each is imported when
it is first used, so that ``import vllm_patchkit`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "apply",
    "check_stack",
    "find_stack",
    "find_target",
    "identify",
    "identify_contents",
    "read_lock",
    "read_stack",
    "revert",
    "status",
    "verify",
]

if TYPE_CHECKING:
    from vllm_patchkit.operations import (
        apply,
        identify,
        identify_contents,
        revert,
        status,
        verify,
    )
    from vllm_patchkit.stack.lint import check_stack
    from vllm_patchkit.stack.read import find_stack, read_lock, read_stack
    from vllm_patchkit.target.find import find_target

_HOMES = {
    "apply": "operations",
    "check_stack": "stack.lint",
    "find_stack": "stack.read",
    "find_target": "target.find",
    "identify": "operations",
    "identify_contents": "operations",
    "read_lock": "stack.read",
    "read_stack": "stack.read",
    "revert": "operations",
    "status": "operations",
    "verify": "operations",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
