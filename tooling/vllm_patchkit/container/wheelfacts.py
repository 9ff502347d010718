"""What a patched wheel says of itself: version, stack and digest, read from its dist-info."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import UsageError, WheelError
from vllm_patchkit.host.files import file_sha256
from vllm_patchkit.stack.applied import APPLIED, parse_applied

CPU_LABEL = "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFacts:
    """A patched wheel on disk. ``tags`` are its wheel tags, ``stack`` the stack's name."""

    path: Path
    version: str
    tags: frozenset[str]
    sha256: str
    stack: str
    stack_digest: str

    @property
    def flavor(self) -> str:
        """``cpu`` or ``cuda``, as vLLM itself decides: by the word "cpu" in the version."""
        return "cpu" if CPU_LABEL in self.version else "cuda"


def read_wheel_facts(path: Path) -> WheelFacts:
    """Return the facts of the wheel at ``path``.

    :raises UsageError: there is no such file, or it is no wheel.
    :raises WheelError: no stack is recorded in it.
    """
    if not path.is_file():
        raise UsageError(f"there is no wheel {path}", hint="make build-wheel makes one")
    try:
        _, version, _, tags = parse_wheel_filename(path.name)
        with Archive(path) as archive:
            names = (member.name for member in archive.members)
            records = [name for name in names if name.endswith(f"/{APPLIED}")]
            applied = [parse_applied(archive.read(name), name) for name in records]
    except (InvalidWheelFilename, WheelError) as error:
        raise UsageError(f"{path} is not a wheel: {error}") from error
    if not applied:
        raise WheelError(
            f"{path.name} holds no stack", hint="the image takes what `vllm-patchkit wheel` made"
        )
    return WheelFacts(
        path=path,
        version=str(version),
        tags=frozenset(map(str, tags)),
        sha256=file_sha256(path),
        stack="+".join(record.stack for record in applied),
        stack_digest="+".join(record.digest for record in applied),
    )


def find_wheel(
    folder: Path, flavor: str, *, label: str | None = None, python: str | None = None
) -> Path:
    """Return the one patched wheel of a flavor in a folder.

    :param label: of the stack as it is now: of several wheels, the one that was built from it.
    :param python: tag of the base image's Python, such as ``cp312``, to choose with further.
    :raises UsageError: there is none, or more than one; lists them.
    """
    found = []
    for path in sorted(folder.glob("vllm-*.whl")):
        version = str(parse_wheel_filename(path.name)[1])
        if (CPU_LABEL in version) == (flavor == CPU_LABEL):
            found.append(path)
    if not found:
        raise UsageError(
            f"there is no {flavor} wheel in {folder}",
            hint=f"build it: vllm-patchkit wheel --flavor {flavor}; or give --wheel",
        )
    found = _narrow(found, lambda path: _label(path) == label)
    found = _narrow(found, lambda path: python is None or f"-{python}-" in path.name)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UsageError(f"{folder} holds several {flavor} wheels: {names}", hint="give --wheel")
    return found[0]


def _narrow(found: list[Path], fits: Callable[[Path], bool]) -> list[Path]:
    """Return those that fit where some do; where none does, the choice is the caller's."""
    return [path for path in found if fits(path)] or found


def _label(path: Path) -> str:
    """Return the stack's part of the local version label: ``ours.3`` of ``0.11.0+ours.3.cpu``."""
    local = parse_wheel_filename(path.name)[1].local or ""
    return local.removesuffix(f".{CPU_LABEL}")
