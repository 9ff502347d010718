"""What can be wrong with a wheel, each kind under a stable code."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from vllm_patchkit.errors import WheelError

SHOWN_FLAWS = 10


class FlawKind(Enum):
    """The code of a flaw, as messages show it; docs/wheels.md gives causes and remedies."""

    TRUNCATED = "truncated"
    NOT_A_ZIP = "not-a-zip"
    ZIP64 = "zip64"
    ENCRYPTED = "encrypted"
    COMPRESSION = "compression"
    DATA_DESCRIPTOR = "data-descriptor"
    FLAGS = "flags"
    LOCAL_HEADER = "local-header"
    HIDDEN_DATA = "hidden-data"
    OVERLAP = "overlap"
    BOMB = "bomb"
    UNSAFE_NAME = "unsafe-name"
    DUPLICATE_NAME = "duplicate-name"
    CASE_COLLISION = "case-collision"
    SPECIAL_FILE = "special-file"
    CONTENT = "content"
    RECORD = "record"
    DIST_INFO = "dist-info"
    METADATA = "metadata"


DAMAGED = frozenset(
    {FlawKind.TRUNCATED, FlawKind.NOT_A_ZIP, FlawKind.LOCAL_HEADER, FlawKind.CONTENT}
)


class Flaw(NamedTuple):
    """One thing that is wrong, and where."""

    kind: FlawKind
    text: str

    def __str__(self) -> str:
        return f"[{self.kind.value}] {self.text}"


def require_no_flaws(where: str, flaws: Iterable[Flaw]) -> None:
    """Raise one error that lists every flaw (the first ten in full).

    :raises WheelError: there is at least one.
    """
    found = list(flaws)
    if not found:
        return
    lines = [str(flaw) for flaw in found[:SHOWN_FLAWS]]
    if len(found) > SHOWN_FLAWS:
        lines.append(f"and {len(found) - SHOWN_FLAWS} more")
    text = lines[0] if len(lines) == 1 else "\n  ".join(["", *lines])
    # A transfer damages bytes; no transfer writes a second row into RECORD.
    remedy = "fetch the wheel again" if found[0].kind in DAMAGED else "have the wheel built again"
    raise WheelError(
        f"{where} cannot be used: {text}",
        hint=f"{remedy}; docs/wheels.md says what each [code] means",
    )
