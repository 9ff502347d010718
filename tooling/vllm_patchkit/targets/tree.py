"""A target that is a folder: site-packages, a source tree, or a model directory."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import TargetError
from vllm_patchkit.host.permission import explain_denial
from vllm_patchkit.stack.applied import APPLIED_FOLDER
from vllm_patchkit.targets.model import Distribution, Kind

TREE_STATE = ".vllm-patchkit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """The files of a release in a folder.

    :param root: what the paths are relative to, with symbolic links resolved, so that one
        environment under two names has one journal and one lock.
    :param record: the dist-info's ``RECORD`` relative to the root; None where no installer
        keeps a list of these files (a tree, an editable install).
    """

    root: Path
    kind: Kind
    state: str
    distribution: Distribution | None = None
    record: str | None = None

    @property
    def location(self) -> Path:
        """What a message calls the target."""
        return self.root

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise TargetError(f"{self.root / path} is a folder, where a file belongs") from None
        except PermissionError as error:
            raise explain_denial(self.root / path) from error

    def executable(self, path: str) -> bool:
        """Return whether its owner may execute a file; False where there is none."""
        try:
            return bool((self.root / path).stat().st_mode & stat.S_IXUSR)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names right inside a folder; none where there is no such folder."""
        try:
            return tuple(sorted(entry.name for entry in os.scandir(self.root / folder)))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the paths of all files below a folder, relative to it; no link is followed."""
        place = self.root / folder
        found = (path for path in place.rglob("*") if path.is_symlink() or not path.is_dir())
        return tuple(sorted(path.relative_to(place).as_posix() for path in found))

    def close(self) -> None:
        """Do nothing: a folder holds no file open."""


def open_tree(root: Path) -> Folder:
    """Return a source tree, a git checkout or a model directory as a target."""
    return Folder(root=root.resolve(), kind="tree", state=TREE_STATE)


def open_installed(site: Path, distribution: Distribution, *, has_record: bool) -> Folder:
    """Return a folder that holds a distribution beside its dist-info as a target."""
    return Folder(
        root=site.resolve(),
        kind="environment",
        state=f"{distribution.dist_info}/{APPLIED_FOLDER}",
        distribution=distribution,
        record=f"{distribution.dist_info}/RECORD" if has_record else None,
    )
