"""What lint can find fault with. Codes are stable: a CI job may name them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Code(Enum):
    """A stable code; the member's name says what is wrong, :attr:`remedy` what to do."""

    METADATA_UNREADABLE = "S101"
    SERIES_UNREADABLE = "S102"
    SERIES_INCOMPLETE = "S103"
    SERIES_NUMBERING = "S104"
    NAME = "S105"
    PATCH_COUNT = "S106"
    SUBSYSTEM_UNCOVERED = "S107"
    PROBE_MISSING = "S108"
    PROBE_INVALID = "S109"
    REQUIREMENT_INVALID = "S110"
    IGNORE_INVALID = "S111"
    HEADER_MISSING = "H201"
    BODY_EMPTY = "H202"
    TRAILER_MISSING = "H203"
    TRAILER_INVALID = "H204"
    SUBSYSTEM_UNKNOWN = "H205"
    DATE_INVALID = "H206"
    MAIL_ENCODING = "H207"
    DIFF_MALFORMED = "D301"
    DIFF_EMPTY = "D302"
    OUTSIDE_ROOT = "D303"
    CRLF_ADDED = "D304"
    TRAILING_WHITESPACE_ADDED = "D305"
    LINE_END_MISSING = "D306"
    NOT_CANONICAL = "D307"
    BLOB_IDS_MISSING = "D308"
    MODE_CHANGED = "D309"
    BINARY = "D310"
    GENERATED_FILE = "D311"
    DOES_NOT_APPLY = "A401"
    DOES_NOT_COMPILE = "A402"
    LOCK_MISSING = "L501"
    LOCK_MALFORMED = "L502"
    LOCK_OUTDATED = "L503"
    BUMP_NEEDED = "L504"
    KNOWN_INCOMPLETE = "L505"

    @property
    def fault(self) -> str:
        """The fault in words, such as ``trailer missing``."""
        return self.name.lower().replace("_", " ")

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self]


REFRESH = "export the series again: vllm-patchkit refresh"
RELOCK = "write the lock: vllm-patchkit lock"
REMEDIES = {
    Code.METADATA_UNREADABLE: "correct stack.toml; docs/stack-format.md lists its keys",
    Code.SERIES_UNREADABLE: "one NNNN-subject.patch a line, comments after #",
    Code.SERIES_INCOMPLETE: "every patch file stands in series once, and every line has its file",
    Code.SERIES_NUMBERING: REFRESH,
    Code.NAME: REFRESH,
    Code.PATCH_COUNT: "change patch-count in stack.toml, or the series",
    Code.SUBSYSTEM_UNCOVERED: "name it in the Subsystem trailer of a patch, or drop it",
    Code.PROBE_MISSING: "add a [[probe]] for the patch to stack.toml, so that smoke can see it",
    Code.PROBE_INVALID: "patch is the NNNN of a patch; expression is one Python expression",
    Code.REQUIREMENT_INVALID: "name a range narrower than the base's, or a new distribution",
    Code.IGNORE_INVALID: "give the code and why, or take the line out of [lint.ignore]",
    Code.HEADER_MISSING: "write the patch with git format-patch",
    Code.BODY_EMPTY: "say why the patch is needed, how to see it work, what lets us drop it",
    Code.TRAILER_MISSING: "add it to the last paragraph of the commit message",
    Code.TRAILER_INVALID: "correct the trailer in the commit message",
    Code.SUBSYSTEM_UNKNOWN: "use a subsystem that stack.toml lists, or add it there",
    Code.DATE_INVALID: "write the patch with git format-patch",
    Code.MAIL_ENCODING: "save the patch as it is in git (8bit), not as a mail client sent it",
    Code.DIFF_MALFORMED: "take it back from version control; change it with: vllm-patchkit edit",
    Code.DIFF_EMPTY: "drop the patch from the series",
    Code.OUTSIDE_ROOT: "take the file out of the patch, or change root in stack.toml",
    Code.CRLF_ADDED: "end the added lines with LF",
    Code.TRAILING_WHITESPACE_ADDED: "take the blanks off the ends of the added lines",
    Code.LINE_END_MISSING: "end the file with a newline",
    Code.NOT_CANONICAL: REFRESH,
    Code.BLOB_IDS_MISSING: "export with git format-patch --full-index (vllm-patchkit refresh does)",
    Code.MODE_CHANGED: "keep mode 100644: installed files have no other",
    Code.BINARY: "ship binary files by other means",
    Code.GENERATED_FILE: "change the generator's input, or read the value elsewhere",
    Code.DOES_NOT_APPLY: "edited by hand: vllm-patchkit refresh; cut from another base: --base",
    Code.DOES_NOT_COMPILE: "mend the patch: every prefix of the series has to byte-compile",
    Code.LOCK_MISSING: RELOCK,
    Code.LOCK_MALFORMED: "restore it from version control, then: vllm-patchkit lock",
    Code.LOCK_OUTDATED: RELOCK,
    Code.BUMP_NEEDED: "raise version in stack.toml, then: vllm-patchkit lock",
    Code.KNOWN_INCOMPLETE: "vllm-patchkit lock --known WHEEL, for the wheel of that release",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One fault. ``place`` is a file of the stack, with a line where one is known."""

    code: Code
    place: str
    message: str
