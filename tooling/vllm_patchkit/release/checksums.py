"""The ``SHA256SUMS`` file, in the form that ``sha256sum --check`` reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vllm_patchkit.errors import WheelError

LINE = re.compile(r"^(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^/\\\0]+)$")


def format_checksums(digests: Mapping[str, str]) -> str:
    """Return one line a file, sorted by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def parse_checksums(text: str) -> dict[str, str]:
    """Return digest by file name.

    :raises WheelError: a line is not of that form, names a path, or a name comes twice.
    """
    digests: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.match(line)
        if match is None or match["name"] in digests or match["name"] in {".", ".."}:
            raise WheelError(f"SHA256SUMS, line {number}: not one new file name and its sha256")
        digests[match["name"]] = match["digest"]
    return digests
