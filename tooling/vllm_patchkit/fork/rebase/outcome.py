"""What became of each patch of a rebase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vllm_patchkit.fork.rebase.merge import Conflict
from vllm_patchkit.fork.rebase.verdict import HunkVerdict

Status = Literal["clean", "moved", "upstream", "conflict", "skipped", "resolved"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchReport:
    """What became of one patch; its JSON has the names of the fields.

    :param status: ``clean``: every hunk on its old lines; ``moved``: some on other lines or in
        another file; ``upstream``: nothing left to do; ``conflict``; ``skipped`` and
        ``resolved`` by hand.
    :param moves: one line for each file whose hunks moved.
    """

    patch: str
    subject: str
    status: Status
    moves: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    hunks: tuple[HunkVerdict, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PatchReport:
        """Return the report of which ``document`` is the JSON."""
        values = {
            "moves": tuple(document["moves"]),
            "conflicts": tuple(Conflict(**item) for item in document["conflicts"]),
            "hunks": tuple(HunkVerdict(**item) for item in document["hunks"]),
        }
        return cls(**{**document, **values})
