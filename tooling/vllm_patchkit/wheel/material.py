"""What a wheel is built from, as its provenance and its SBOM name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

Role = Literal["base", "extension"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """An upstream wheel that went into a build.

    :param license: the SPDX expression that its METADATA declares, or None.
    """

    role: Role
    distribution: str
    version: str
    file: str
    sha256: str
    license: str | None = None

    @property
    def purl(self) -> str:
        """The package URL of the distribution, with the file as qualifier."""
        return f"{package_url(self.distribution, self.version)}?file_name={quote(self.file)}"


def package_url(distribution: str, version: str) -> str:
    """Return the package URL of a release (https://github.com/package-url/purl-spec).

    >>> package_url("vllm", "0.11.0+emu3.5.1")
    'pkg:pypi/vllm@0.11.0%2Bemu3.5.1'
    """
    return f"pkg:pypi/{distribution.replace('_', '-').lower()}@{quote(version, safe='.!')}"
