"""A wheel as a wheel: the archive, its dist-info and what RECORD says of each member."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vllm_patchkit.archive.flaws import Flaw, FlawKind, require_no_flaws
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import WheelError
from vllm_patchkit.stack.model import Base
from vllm_patchkit.wheel.metadata import WheelName, find_header, header, normalize_name
from vllm_patchkit.wheel.record import SIGNATURES, RecordRow, check_rows, parse_record

SPDX_IDENTIFIER = re.compile(r"[A-Za-z0-9.+-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelContents:
    """An input wheel, its RECORD consistent with its members' names and sizes.

    :param version: as METADATA has it.
    :param rows: path -> row of RECORD, without RECORD's own.
    """

    archive: Archive
    name: WheelName
    distribution: str
    version: str
    dist_info: str
    rows: Mapping[str, RecordRow]

    def read_info(self, name: str) -> bytes:
        """Return a file of the dist-info."""
        return self.archive.read(f"{self.dist_info}/{name}")

    @property
    def data_folder(self) -> str:
        """The folder for scripts and data; most wheels have none."""
        return self.dist_info.removesuffix(".dist-info") + ".data"

    @property
    def license(self) -> str | None:
        """The license that METADATA declares, where it is an SPDX expression."""
        metadata = self.read_info("METADATA")
        expression = find_header(metadata, "License-Expression")
        if expression:
            return expression
        text = find_header(metadata, "License") or ""
        return text if SPDX_IDENTIFIER.fullmatch(text) else None


def read_contents(archive: Archive) -> WheelContents:
    """Return the wheel that an archive is.

    :raises WheelError: it has not exactly one sound dist-info, or file name, METADATA and RECORD
        contradict each other.
    """
    name = WheelName.parse(archive.path.name)
    dist_info = find_dist_info(archive, "METADATA", "WHEEL", "RECORD")
    metadata = archive.read(f"{dist_info}/METADATA")
    distribution, version = header(metadata, "Name"), header(metadata, "Version")
    rows, flaws = parse_record(archive.read(f"{dist_info}/RECORD"), f"{dist_info}/RECORD")
    if not flaws:
        flaws += check_rows(rows, _recorded_sizes(archive, dist_info))
    for stem in (name.stem, dist_info.removesuffix(".dist-info")):
        found, _, found_version = stem.partition("-")
        if (normalize_name(found), found_version) != (
            normalize_name(distribution),
            version.replace("-", "_"),
        ):
            text = f"METADATA says {distribution} {version}, a name says {stem}"
            flaws.append(Flaw(FlawKind.METADATA, text))
    require_no_flaws(archive.path.name, flaws)
    return WheelContents(
        archive=archive,
        name=name,
        distribution=distribution,
        version=version,
        dist_info=dist_info,
        rows=rows,
    )


def find_dist_info(archive: Archive, *needed: str) -> str:
    """Return the name of a wheel's dist-info folder.

    :param needed: files that it must have.
    :raises WheelError: there is not exactly one, or it lacks one of them.
    """
    tops = {member.name.partition("/")[0] for member in archive.members}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        text = f"{len(found)} dist-info folders, where a wheel has one"
        require_no_flaws(archive.path.name, [Flaw(FlawKind.DIST_INFO, text)])
    missing = [
        Flaw(FlawKind.DIST_INFO, f"{found[0]}/{name} is missing")
        for name in needed
        if archive.find(f"{found[0]}/{name}") is None
    ]
    require_no_flaws(archive.path.name, missing)
    return found[0]


def _recorded_sizes(archive: Archive, dist_info: str) -> dict[str, int]:
    """Return the size of every member that RECORD must list."""
    unlisted = {f"{dist_info}/{name}" for name in ("RECORD", *SIGNATURES)}
    return {
        member.name: member.size
        for member in archive.members
        if not member.is_folder and member.name not in unlisted
    }


def require_distribution(archive: Archive, distribution: str, base: Base) -> None:
    """Do nothing if a wheel is of a base's distribution, or of one of its aliases.

    :raises WheelError: it is of another.
    """
    accepted = (base.distribution, *base.aliases)
    if normalize_name(distribution) not in map(normalize_name, accepted):
        raise WheelError(
            f"{archive.path.name} is a wheel of {distribution}, not of {' or '.join(accepted)}"
        )
