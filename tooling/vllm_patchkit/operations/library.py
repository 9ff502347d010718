"""The operations on stacks and wheels as programs call them: by name or path, in silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.read import find_stack

if TYPE_CHECKING:
    from vllm_patchkit.operations.stacks import Locked
    from vllm_patchkit.stack.finding import Finding
    from vllm_patchkit.wheel.build import BuiltWheel
    from vllm_patchkit.wheel.check import CheckReport


def lint(
    stack: str | Path | None = None,
    *,
    base: str | Path | None = None,
    console: Console | None = None,
) -> list[Finding]:
    """Return every finding on a stack; none is what a sound one has.

    :param stack: name or folder; None is the only one there is.
    :param base: the wheel, environment or tree it was cut from; None fetches the release.
    :param console: shows the progress of a download; None shows nothing.
    :raises HostError: the base cannot be had, so that nothing was checked.
    """
    from vllm_patchkit.operations.stacks import lint_stack

    return lint_stack(find_stack(stack), base=_text(base), console=console or _silent())


def lock(
    stack: str | Path | None = None,
    *,
    base: str | Path | None = None,
    known: Sequence[str] = (),
    release: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
) -> Locked:
    """Write the lock of a stack, if its bytes change; see :func:`maintenance.lock_stack`."""
    from vllm_patchkit.operations.stacks import lock_stack

    return lock_stack(
        find_stack(stack),
        base=_text(base),
        known=known,
        release=release,
        dry_run=dry_run,
        console=console or _silent(),
    )


def build_wheel(
    stack: str | Path | None = None,
    *,
    out: str | Path,
    flavor: str = "cuda",
    base: str | Path | None = None,
    python_tag: str | None = None,
    console: Console | None = None,
) -> BuiltWheel:
    """Build the wheel of a stack into the folder ``out``; see :func:`wheel.build.build_wheel`.

    :raises PatchkitError: an input, the stack or the folder is not as it must be; ``out`` is
        left as it was.
    """
    from vllm_patchkit.wheel.build import build_wheel

    return build_wheel(
        find_stack(stack),
        flavor,
        Path(out),
        base=None if base is None else Path(base),
        python_tag=python_tag,
        console=console or _silent(),
    )


def check_wheel(
    wheel: str | Path, *, base: str | Path | None = None, console: Console | None = None
) -> CheckReport:
    """Build a wheel again from its provenance and return where the bytes differ.

    :param base: where the base is, if it was not a pinned wheel.
    :raises WheelError: the wheel is malformed, or was not made by this program.
    """
    from vllm_patchkit.wheel.check import check_wheel

    return check_wheel(Path(wheel), console or _silent(), base=None if base is None else Path(base))


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _silent() -> Console:
    return Console(quiet=True)
