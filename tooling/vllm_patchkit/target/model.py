"""What every kind of target offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["environment", "wheel", "tree"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """The distribution that owns the target's files, read from its dist-info.

    :param dist_info: path of the ``*.dist-info`` folder, relative to the target's root.
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
        """What sort of thing it is; decides how a commit is made."""
        ...

    @property
    def location(self) -> Path:
        """What a message calls the target: site-packages, the wheel, or the tree's root."""
        ...

    @property
    def distribution(self) -> Distribution | None:
        """The distribution that owns the files, or None for a tree without dist-info."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file.

        :param path: POSIX, relative to the root, such as ``vllm/v1/request.py``.
        """
        ...

    def writable(self) -> bool:
        """Return whether this process could change the target."""
        ...
