"""The wheel that is going to be written, as values."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_patchkit.archive import zipformat
from vllm_patchkit.archive.entries import Member
from vllm_patchkit.archive.writer import member_overhead
from vllm_patchkit.wheel.metadata import WheelName
from vllm_patchkit.wheel.provenance import Role
from vllm_patchkit.wheel.record import RecordRow


@dataclass(frozen=True, kw_only=True, slots=True)
class RawMember:
    """A member whose compressed bytes are copied from the input that has the role."""

    name: str
    role: Role
    member: Member
    row: RecordRow

    @property
    def stored_size(self) -> int:
        """Bytes that its data takes in the archive."""
        return self.member.compressed_size


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeMember:
    """A member whose content this build makes."""

    name: str
    data: bytes
    executable: bool = False

    @property
    def row(self) -> RecordRow:
        """Its row of RECORD."""
        return RecordRow.of(self.name, self.data)

    @property
    def stored_size(self) -> int:
        """Bytes that its data takes in the archive: it is not compressed."""
        return len(self.data)


PlannedMember = RawMember | MadeMember


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelPlan:
    """The wheel to write: its name and every member in order, RECORD last."""

    name: WheelName
    members: tuple[PlannedMember, ...]

    @property
    def size_bytes(self) -> int:
        """The exact size of the file."""
        each = (member.stored_size + member_overhead(member.name) for member in self.members)
        return sum(each) + zipformat.END_RECORD.size
