"""A zip archive of which only some bytes are had: its directory, and the members asked for.

Nothing here was compared with the digest of the whole: who makes the bytes says what is in them.
What is read is only as sound as a zip can be for itself, so it is good for questions, not for use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vllm_patchkit.archive import zipformat
from vllm_patchkit.archive.entries import Member, check_entry
from vllm_patchkit.archive.flaws import Flaw, FlawKind, require_no_flaws
from vllm_patchkit.archive.names import check_together
from vllm_patchkit.archive.reader import MAX_MEMBER_READ_BYTES, Archive

# Of a member: the fixed part, a name and extra fields, each with a length of 16 bits.
MAX_HEADER_BYTES = zipformat.LOCAL_HEADER.size + 2 * 0xFFFF

Pread = Callable[[int, int], bytes]


class PartialArchive(Archive):
    """An archive behind a function that gives some of its bytes; only the directory is read first.

    :param name: what messages call it.
    :param pread: returns the bytes at an offset, as many as are asked for.
    :raises WheelError: listing what is wrong with the directory.
    """

    def __init__(self, name: str, size_bytes: int, pread: Pread) -> None:
        self.path = Path(name)
        self.size_bytes = size_bytes
        self._pread = pread
        self._window = (0, b"")
        end = self._read_end_record()
        self.directory_bytes = end.directory_size
        entries = sorted(self._read_directory(end), key=lambda entry: entry.header_offset)
        flaws = [flaw for entry in entries for flaw in check_entry(entry)]
        names = [entry.raw_name.decode("utf-8", "replace") for entry in entries]
        require_no_flaws(name, [*flaws, *check_together(names)])
        ends = [*(entry.header_offset for entry in entries[1:]), end.directory_offset]
        self._spans = dict(zip(names, zip(entries, ends, strict=True), strict=True))
        self.members = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Every member's name, and its size when it is unpacked."""
        return {name: entry.size for name, (entry, _) in self._spans.items()}

    def cost(self, names: Iterable[str]) -> int:
        """Return how many bytes have to be had for these members."""
        return sum(end - entry.header_offset for entry, end in map(self._spans.__getitem__, names))

    def close(self) -> None:
        """Do nothing: no file is open."""

    def find(self, name: str) -> Member | None:
        """Return the member of that name, or None; all of its bytes are had at once.

        :raises WheelError: its own header and the directory disagree.
        """
        if name not in self._spans:
            return None
        entry, end = self._spans[name]
        require_no_flaws(self.path.name, list(_check_span(entry, end)))
        start = entry.header_offset
        self._window = (start, self._pread(start, end - start))
        member, flaws = self._read_member(entry)
        if not flaws and member.end != end:
            text = f"{name!r} does not end where the next member starts"
            flaws = [Flaw(FlawKind.HIDDEN_DATA, text)]
        require_no_flaws(self.path.name, flaws)
        return member

    def get(self, name: str) -> bytes | None:
        """Return the content of a member, or None where there is no such member."""
        return self.read(name) if name in self._spans else None

    def pread(self, offset: int, length: int) -> bytes:
        """Return bytes of the archive; those of the member at hand are not asked for again."""
        start, data = self._window
        if start <= offset and offset + length <= start + len(data):
            return data[offset - start : offset - start + length]
        return self._pread(offset, length)


def _check_span(entry: zipformat.Entry, end: int) -> Iterator[Flaw]:
    """Yield why the bytes from a member's start to the next one's cannot be the member's."""
    span = end - entry.header_offset
    if not 0 <= span - entry.compressed_size <= MAX_HEADER_BYTES:
        yield Flaw(FlawKind.OVERLAP, f"{entry.label} has {span} bytes up to the next member")
    elif span > MAX_MEMBER_READ_BYTES:
        yield Flaw(FlawKind.BOMB, f"{entry.label} is too large to read: {span} bytes")
