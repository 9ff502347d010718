"""A wheel as a target: read in place, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import WheelError
from vllm_patchkit.stack.applied import APPLIED_FOLDER
from vllm_patchkit.stack.model import Base
from vllm_patchkit.targets.model import Distribution, Kind
from vllm_patchkit.wheel.contents import find_dist_info, require_distribution
from vllm_patchkit.wheel.metadata import parse_name_and_version


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelTarget:
    """The members of a wheel. The archive stays open as long as the target lives."""

    location: Path
    distribution: Distribution | None
    state: str
    archive: Archive = field(repr=False, compare=False)
    kind: Kind = "wheel"

    def read(self, path: str) -> bytes | None:
        """Return a member's bytes, or None where there is no such member."""
        return self.archive.get(path)

    def executable(self, path: str) -> bool:
        """Return whether an installer makes the member executable; False where there is none."""
        member = self.archive.find(path)
        return member is not None and member.executable

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names right inside a folder; none where there is no such folder."""
        inside = self.archive.files_below(folder)
        return tuple(sorted({name.partition("/")[0] for name in inside}))

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the paths of all files below a folder, relative to it."""
        return tuple(self.archive.files_below(folder))

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()


def open_wheel(path: Path, base: Base) -> WheelTarget:
    """Return a wheel as a target.

    :raises WheelError: it is malformed, or a wheel of something else than the base.
    """
    archive = Archive(path)
    try:
        distribution = _read_distribution(archive)
        require_distribution(archive, distribution.name, base)
    except BaseException:
        archive.close()
        raise
    state = f"{distribution.dist_info}/{APPLIED_FOLDER}"
    return WheelTarget(location=path, distribution=distribution, state=state, archive=archive)


def _read_distribution(archive: Archive) -> Distribution:
    folder = find_dist_info(archive, "METADATA")
    headers = parse_name_and_version(archive.read(f"{folder}/METADATA"))
    if headers is None:
        raise WheelError(f"{archive.path}: {folder}/METADATA names no distribution")
    return Distribution(name=headers[0], version=headers[1], dist_info=folder)
