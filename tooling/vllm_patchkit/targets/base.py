"""The release that a stack is cut from, opened as a target to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.model import Base
from vllm_patchkit.targets.find import find_target
from vllm_patchkit.targets.model import Target


def open_base(spec: str | Path | None, base: Base, console: Console) -> Target:
    """Return the base to read from.

    :param spec: a wheel, an environment or a tree; None fetches the release's wheel (pinned by
        sha256 where ``wheels/inputs.toml`` knows it) into the cache.
    :raises UsageError: ``spec`` is None and the base is a plain folder.
    :raises HostError: the wheel cannot be downloaded.
    """
    if spec is None:
        return open_release(base, base.version, console)
    target = find_target(spec, base=base)
    if target.kind == "wheel" and base.sha256:
        _compare_wheel(target, base, console)
    found = target.distribution
    if found is not None and not found.version.startswith(base.version):
        console.note(
            f"{target.location} is {found.name} {found.version}; the stack is cut from "
            f"{base.distribution} {base.version}"
        )
    return target


def _compare_wheel(target: Target, base: Base, console: Console) -> None:
    from vllm_patchkit.host.files import file_sha256

    found = file_sha256(target.location, console)
    if found != base.sha256:
        console.note(
            f"{target.location} is another file (sha256 {found[:12]}) than the stack was cut from, "
            f"{base.wheel} (sha256 {base.sha256[:12]})"
        )


def open_release(base: Base, version: str, console: Console) -> Target:
    """Return the wheel of one release of the base's distribution, fetched if it is not cached."""
    from vllm_patchkit.wheel.fetch import fetch_release
    from vllm_patchkit.wheel.pins import WheelInput

    if not base.distribution:
        raise UsageError(
            "this stack is cut from a plain folder, which cannot be fetched",
            hint="name the folder with --base DIR",
        )
    pin = WheelInput.of_base(base) if version == base.version else None
    wheel = fetch_release(base.distribution, version, console, pin)
    return find_target(wheel, base=replace(base, version=version))
