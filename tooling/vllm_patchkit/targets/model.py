"""What every kind of target offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["environment", "wheel", "tree"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """The distribution that owns the target's files, read from its dist-info.

    :param dist_info: name of the ``*.dist-info`` folder.
    :param editable: the dist-info points at a source tree elsewhere (PEP 660).
    """

    name: str
    version: str
    dist_info: str
    editable: bool = False


class Target(Protocol):
    """Something that holds the files of a base release."""

    @property
    def kind(self) -> Kind:
        """What sort of target it is."""

    @property
    def location(self) -> Path:
        """What a message calls the target: site-packages, the wheel, or the tree's root."""

    @property
    def distribution(self) -> Distribution | None:
        """The owner of the files; None in a tree."""

    @property
    def state(self) -> str:
        """The folder that holds a record of each applied stack, relative to the root."""

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file.

        :param path: POSIX, relative to the root, such as ``vllm/v1/request.py``.
        """

    def executable(self, path: str) -> bool:
        """Return whether its owner may execute a file; False where there is none."""

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names right inside a folder; none where there is no such folder."""

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the paths of all files below a folder, relative to it; no link is followed."""

    def close(self) -> None:
        """Let go of open files."""
