"""The requirements that a stack adds to a METADATA file. Pure; every other byte stays as it was.

Each is a line of its own. Several ``Requires-Dist`` lines for one distribution hold together
(https://packaging.python.org/en/latest/specifications/core-metadata/), so a line can only tighten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from vllm_patchkit.wheel.metadata import EXTRA_MARKER, headers_end


def add_requirements(metadata: bytes, requires: Sequence[str]) -> bytes:
    """Return METADATA with the missing ones of ``requires``, after what the base requires.

    >>> add_requirements(b"Name: a\\nRequires-Dist: b\\nRequires-Dist: c; extra == 'x'\\n", ["b<2"])
    b"Name: a\\nRequires-Dist: b\\nRequires-Dist: b<2\\nRequires-Dist: c; extra == 'x'\\n"
    """
    lines, rest = _split(metadata)
    end = b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += end
    required = [place for place, line in enumerate(lines, 1) if _is_unconditional(line)]
    at = max(required, default=len(lines))
    new = [_line(one) + end for one in missing_requirements(metadata, requires)]
    return b"".join([*lines[:at], *new, *lines[at:], rest])


def remove_requirements(metadata: bytes, requires: Collection[str]) -> bytes:
    """Return METADATA without the lines that ``requires`` would add."""
    lines, rest = _split(metadata)
    gone = {_line(one) for one in requires}
    return b"".join([*(line for line in lines if line.rstrip(b"\r\n") not in gone), rest])


def missing_requirements(metadata: bytes, requires: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``requires`` that METADATA has no line for, in their order."""
    found = {line.rstrip(b"\r\n") for line in _split(metadata)[0]}
    return tuple(one for one in dict.fromkeys(requires) if _line(one) not in found)


def listed_requirements(metadata: bytes) -> tuple[str, ...]:
    """Return every requirement that METADATA lists outside extras."""
    lines = filter(_is_unconditional, _split(metadata)[0])
    return tuple(line.partition(b":")[2].decode("utf-8", "replace").strip() for line in lines)


def _line(requirement: str) -> bytes:
    return f"Requires-Dist: {requirement}".encode()


def _split(metadata: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines of the headers, and everything from the first empty line on."""
    end = headers_end(metadata)
    return metadata[:end].splitlines(keepends=True), metadata[end:]


def _is_unconditional(line: bytes) -> bool:
    return line.lower().startswith(b"requires-dist:") and not EXTRA_MARKER.search(line)
