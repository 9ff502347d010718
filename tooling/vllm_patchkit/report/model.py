"""What a report shows, gathered as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vllm_patchkit.fork.overlap import Overlap
from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.stack.model import Lock, Patch, Stack

UPSTREAM_TRAILERS = ("Applied-Upstream", "Forwarded", "Bug", "Origin")
UPSTREAM_MARKS = {
    "●": "merged upstream",
    "◐": "forwarded",
    "○": "not forwarded",
    "□": "not for upstream",
    "↓": "taken from upstream",
    "·": "not said",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything on the page.

    :param verification: what was verified, as lines of text; empty where nothing was.
    :param rebases: release -> what would become of each patch there.
    """

    stack: Stack
    lock: Lock | None
    label: str
    overlaps: Sequence[Overlap]
    verification: Sequence[str] = ()
    rebases: Mapping[str, Sequence[PatchReport]] | None = None

    @property
    def paths(self) -> list[str]:
        """Every file that the stack touches, sorted."""
        return sorted({path for patch in self.stack.patches for path in touched(patch)})


def touched(patch: Patch) -> list[str]:
    """Return the files that a patch touches, in its order."""
    return list(dict.fromkeys(diff.path for diff in patch.files))


def added_and_removed(patch: Patch, path: str | None = None) -> tuple[int, int]:
    """Return how many lines a patch adds and removes, in one file or in all."""
    added = removed = 0
    for diff in patch.files:
        if path in (None, diff.path):
            ops = [line.op for hunk in diff.hunks for line in hunk.lines]
            added += ops.count("+")
            removed += ops.count("-")
    return added, removed


def purpose(patch: Patch) -> str:
    """Return the first paragraph of a patch's message on one line."""
    return " ".join(patch.message.body.strip().split("\n\n")[0].split())


def upstream_status(patch: Patch) -> str:
    """Return what the trailers say of the way upstream."""
    found = [(name, patch.message.trailer(name)) for name in UPSTREAM_TRAILERS]
    return ", ".join(f"{name}: {value}" for name, value in found if value)


def upstream_mark(patch: Patch) -> str:
    """Return the mark, a key of :data:`UPSTREAM_MARKS`, of how far a patch is on its way upstream.

    The trailers are DEP-3's (https://dep-team.pages.debian.net/deps/dep3/).
    """
    if patch.message.trailer("Applied-Upstream"):
        return "●"
    if (patch.message.trailer("Origin") or "").partition(",")[0].strip() in (
        "upstream",
        "backport",
    ):
        return "↓"
    forwarded = patch.message.trailer("Forwarded") or ""
    return {"": "·", "no": "○", "not-needed": "□"}.get(forwarded.strip(), "◐")


def anchor(patch: Patch) -> str:
    """Return the id of a patch's section on the page."""
    return f"patch-{patch.number:04}"
