"""What lint can find fault with. Codes are stable: a CI job may name them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

REFRESH = "export the series again: vllm-patchkit refresh"
RELOCK = "write the lock: vllm-patchkit lock"


class Code(Enum):
    """A stable code; the member's name says what is wrong, :attr:`remedy` what to do."""

    remedy: str

    METADATA_UNREADABLE = "S101", "correct stack.toml; docs/stack-format.md lists its keys"
    SERIES_UNREADABLE = "S102", "one NNNN-subject.patch a line, comments after #"
    SERIES_INCOMPLETE = (
        "S103",
        "every patch file stands in series once, and every line has its file",
    )
    SERIES_NUMBERING = "S104", REFRESH
    NAME = "S105", REFRESH
    PATCH_COUNT = "S106", "change patch-count in stack.toml, or the series"
    SUBSYSTEM_UNCOVERED = "S107", "name it in the Subsystem trailer of a patch, or drop it"
    PROBE_MISSING = "S108", "add a [[probe]] for the patch to stack.toml, so that smoke can see it"
    PROBE_INVALID = "S109", "patch is the NNNN of a patch; expression is one Python expression"
    REQUIREMENT_INVALID = "S110", "name a range narrower than the base's, or a new distribution"
    IGNORE_INVALID = "S111", "give the code and why, or take the line out of [lint.ignore]"
    HEADER_MISSING = "H201", "write the patch with git format-patch"
    BODY_EMPTY = "H202", "say why the patch is needed, how to see it work, what lets us drop it"
    TRAILER_MISSING = "H203", "add it to the last paragraph of the commit message"
    TRAILER_INVALID = "H204", "correct the trailer in the commit message"
    SUBSYSTEM_UNKNOWN = "H205", "use a subsystem that stack.toml lists, or add it there"
    DATE_INVALID = "H206", "write the patch with git format-patch"
    MAIL_ENCODING = "H207", "save the patch as it is in git (8bit), not as a mail client sent it"
    DIFF_MALFORMED = "D301", "take it back from version control; change it with: vllm-patchkit edit"
    DIFF_EMPTY = "D302", "drop the patch from the series"
    OUTSIDE_ROOT = "D303", "take the file out of the patch, or change root in stack.toml"
    CRLF_ADDED = "D304", "end the added lines with LF"
    TRAILING_WHITESPACE_ADDED = "D305", "take the blanks off the ends of the added lines"
    LINE_END_MISSING = "D306", "end the file with a newline"
    NOT_CANONICAL = "D307", REFRESH
    BLOB_IDS_MISSING = (
        "D308",
        "export with git format-patch --full-index (vllm-patchkit refresh does)",
    )
    MODE_CHANGED = "D309", "keep mode 100644: installed files have no other"
    BINARY = "D310", "ship binary files by other means"
    GENERATED_FILE = "D311", "change the generator's input, or read the value elsewhere"
    DOES_NOT_APPLY = "A401", "edited by hand: vllm-patchkit refresh; cut from another base: --base"
    DOES_NOT_COMPILE = "A402", "mend the patch: every prefix of the series has to byte-compile"
    LOCK_MISSING = "L501", RELOCK
    LOCK_MALFORMED = "L502", "restore it from version control, then: vllm-patchkit lock"
    LOCK_OUTDATED = "L503", RELOCK
    BUMP_NEEDED = "L504", "raise version in stack.toml, then: vllm-patchkit lock"
    KNOWN_INCOMPLETE = "L505", "vllm-patchkit lock --known WHEEL, for the wheel of that release"

    def __new__(cls, code: str, remedy: str) -> Code:
        """Take the code alone for the value."""
        member = object.__new__(cls)
        member._value_, member.remedy = code, remedy
        return member

    @property
    def fault(self) -> str:
        """The fault in words, such as ``trailer missing``."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. ``place`` is a file of the stack, with a line where one is known."""

    code: Code
    place: str
    message: str
