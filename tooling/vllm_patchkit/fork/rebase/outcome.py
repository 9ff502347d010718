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
    """What became of one patch.

    :param status: ``clean``: every hunk on its old lines; ``moved``: some on other lines or in
        another file; ``upstream``: nothing left to do; ``conflict``; ``skipped`` and
        ``resolved`` by hand.
    :param moves: one line for each file whose hunks moved.
    """

    name: str
    subject: str
    status: Status
    moves: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    hunks: tuple[HunkVerdict, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON writes it."""
        return {
            "patch": self.name,
            "subject": self.subject,
            "status": self.status,
            "moves": list(self.moves),
            "conflicts": [
                {
                    "path": item.path, "kind": item.kind, "line": item.line,
                    "upstream": item.upstream, "base": item.base, "patch": item.patched,
                }
                for item in self.conflicts
            ],
            "hunks": [
                {"path": item.path, "hunk": item.hunk, "verdict": item.verdict, "note": item.note}
                for item in self.hunks
            ],
        }  # fmt: skip

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PatchReport:
        """Return the report that :meth:`to_json` wrote."""
        return cls(
            name=document["patch"],
            subject=document["subject"],
            status=document["status"],
            moves=tuple(document["moves"]),
            conflicts=tuple(
                Conflict(
                    path=item["path"], kind=item["kind"], line=item["line"],
                    upstream=item["upstream"], base=item["base"], patched=item["patch"],
                )
                for item in document["conflicts"]
            ),
            hunks=tuple(
                HunkVerdict(
                    path=item["path"], hunk=item["hunk"], verdict=item["verdict"],
                    note=item["note"],
                )
                for item in document["hunks"]
            ),
        )  # fmt: skip
