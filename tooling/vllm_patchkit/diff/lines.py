"""The lines of a patch file, with the place that an error message names."""

from __future__ import annotations

import io
from dataclasses import dataclass

from vllm_patchkit.errors import PatchFormatError


@dataclass(slots=True)
class LineReader:
    """Lines (cut at ``\\n`` only, ends kept) and the index of the next one."""

    lines: list[bytes]
    source: str
    index: int = 0

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> LineReader:
        """Return a reader at the first line of ``data``."""
        return cls(io.BytesIO(data).readlines(), source)

    def peek(self, ahead: int = 0) -> bytes:
        """Return a line that is still to come, or ``b""`` past the end."""
        place = self.index + ahead
        return self.lines[place] if place < len(self.lines) else b""

    def take(self) -> bytes:
        """Return the next line and step over it; ``b""`` past the end."""
        line = self.peek()
        self.index += 1
        return line

    def fault(
        self, message: str, *, line: int | None = None, hint: str | None = None
    ) -> PatchFormatError:
        """Return an error at ``line`` (1-based), by default at the line taken last."""
        place = line if line is not None else max(self.index, 1)
        return PatchFormatError(f"{self.source}:{place}: {message}", hint=hint)
