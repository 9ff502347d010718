"""File name, METADATA and WHEEL of a wheel. Values in, values out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from vllm_patchkit.errors import WheelError

NAME_PART = re.compile(r"[A-Za-z0-9_.!+]+")
REQUIREMENT_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")
EXTRA_MARKER = re.compile(rb";.*\bextra\s*==")


@dataclass(frozen=True, slots=True)
class WheelName:
    """The parts of a wheel's file name, as they are written there."""

    distribution: str
    version: str
    build: str | None
    python: str
    abi: str
    platform: str

    @classmethod
    def parse(cls, file_name: str) -> WheelName:
        """Return the parts of ``file_name``.

        Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/

        >>> WheelName.parse("vllm-0.11.0-cp38-abi3-manylinux1_x86_64.whl").platform
        'manylinux1_x86_64'
        """
        parts = file_name.removesuffix(".whl").split("-")
        sound = all(NAME_PART.fullmatch(part) for part in parts)
        if not file_name.endswith(".whl") or len(parts) not in (5, 6) or not sound:
            raise WheelError(
                f"{file_name!r} is not the name of a wheel",
                hint="name-version[-build]-python-abi-platform.whl is; keep the name it came with",
            )
        build = parts.pop(2) if len(parts) == 6 else None
        distribution, version, *tags = parts
        return cls(distribution, version, build, *tags)

    @property
    def file_name(self) -> str:
        """The file name again."""
        parts = (self.distribution, self.version, self.build, self.python, self.abi, self.platform)
        return "-".join(part for part in parts if part is not None) + ".whl"

    @property
    def stem(self) -> str:
        """What the names of the dist-info and data folders start with."""
        return f"{self.distribution}-{self.version}"

    @property
    def tags(self) -> list[str]:
        """The tags of the WHEEL file: compressed sets such as ``py2.py3`` written out."""
        sets = (self.python.split("."), self.abi.split("."), self.platform.split("."))
        return ["-".join(tag) for tag in itertools.product(*sets)]

    def with_version(self, version: str) -> WheelName:
        """Return the name of the same wheel in another version (a local label keeps its ``+``)."""
        return replace(self, version=version.replace("-", "_"))


def header(metadata: bytes, key: str) -> str:
    """Return the value of a header that must occur exactly once.

    :raises WheelError: it is missing, or there are several.
    """
    values = [metadata[start:end] for start, end in _header_spans(metadata, key)]
    if len(values) != 1:
        raise WheelError(f"METADATA has {len(values)} lines '{key}:', where one belongs")
    return values[0].decode("utf-8", "replace").strip()


def find_header(metadata: bytes, key: str) -> str | None:
    """Return the value of a header that may be missing; the first, if there are several."""
    for start, end in _header_spans(metadata, key):
        return metadata[start:end].decode("utf-8", "replace").strip()
    return None


def set_header(metadata: bytes, key: str, value: str) -> bytes:
    """Return METADATA with the value of one header changed and every other byte as it was."""
    header(metadata, key)
    ((start, end),) = _header_spans(metadata, key)
    return metadata[:start] + b" " + value.encode("utf-8") + metadata[end:]


def change_requirements(metadata: bytes, drop: Collection[str], add: Sequence[str]) -> bytes:
    """Return METADATA with ``add`` required where the first of ``drop`` was.

    Requirements of an extra stay: they are the user's choice, not the build's.

    :raises WheelError: one of ``drop`` is not required.
    """
    end = headers_end(metadata)
    kept: list[bytes] = []
    dropped: set[str] = set()
    place: int | None = None
    for line in metadata[:end].splitlines(keepends=True):
        name = _required_name(line)
        if name is not None and name in drop:
            dropped.add(name)
            place = len(kept) if place is None else place
        else:
            kept.append(line)
    if missing := sorted(set(drop) - dropped):
        raise WheelError(f"the base does not require {', '.join(missing)}, which was to be dropped")
    added = [f"Requires-Dist: {requirement}\n".encode() for requirement in add]
    at = len(kept) if place is None else place
    return b"".join([*kept[:at], *added, *kept[at:], metadata[end:]])


def change_wheel_file(data: bytes, tags: Sequence[str], generator: str) -> bytes:
    """Return WHEEL with our tags and generator; its other lines stay."""
    lines = [line for line in data.splitlines() if line.strip()]
    keep = [line for line in lines if not line.lower().startswith((b"tag:", b"generator:"))]
    if not keep or not keep[0].startswith(b"Wheel-Version: 1."):
        raise WheelError("WHEEL does not start with 'Wheel-Version: 1.x'; this is another format")
    first, rest = keep[0], keep[1:]
    written = [first, f"Generator: {generator}".encode(), *rest]
    written += [f"Tag: {tag}".encode() for tag in tags]
    return b"\n".join(written) + b"\n\n"


def local_version(base: str, *labels: str) -> str:
    """Return ``base`` with local version labels added (PEP 440).

    >>> local_version("0.11.0", "myfork.1", "cpu")
    '0.11.0+myfork.1.cpu'
    >>> local_version("0.11.0+cu129", "myfork.1")
    '0.11.0+cu129.myfork.1'
    """
    public, plus, local = base.partition("+")
    return public + "+" + ".".join([*([local] if plus else []), *labels])


def normalize_name(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_name_and_version(metadata: bytes) -> tuple[str, str] | None:
    """Return the ``Name`` and ``Version`` headers of a METADATA file, or None if one is missing."""
    name, version = find_header(metadata, "Name"), find_header(metadata, "Version")
    return None if name is None or version is None else (name, version)


def headers_end(metadata: bytes) -> int:
    """Return where the headers end: at the first empty line, or with the file."""
    match = re.search(rb"\n(?=\r?\n)", metadata)
    return match.end() if match else len(metadata)


def _header_spans(metadata: bytes, key: str) -> list[tuple[int, int]]:
    """Return where the values of a header are, from after the colon to before the line end."""
    head = metadata[: headers_end(metadata)]
    pattern = re.compile(rb"^%s:([^\r\n]*)" % re.escape(key.encode()), re.I | re.M)
    return [match.span(1) for match in pattern.finditer(head)]


def _required_name(line: bytes) -> str | None:
    key, _, value = line.partition(b":")
    if key.lower() != b"requires-dist" or EXTRA_MARKER.search(value):
        return None
    match = REQUIREMENT_NAME.match(value.strip())
    return normalize_name(match.group().decode()) if match else None
