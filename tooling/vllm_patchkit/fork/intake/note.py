"""What an import noticed, for the author of the patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "offset",
    "fuzz",
    "merged",
    "line ends",
    "layout",
    "left out",
    "decoded",
    "quoted",
    "conflict",
    "refused",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """Something about one patch that its author should know.

    :param hint: what to do about it, where that is known.
    """

    kind: Kind
    source: str
    text: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.source}: {self.text}"
