"""Everything that a release publishes: the toolkit built, the notes, one folder of it all."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import CommandFailed, HostError, UsageError
from vllm_patchkit.host.files import file_sha256, made_whole
from vllm_patchkit.host.process import isolated, run
from vllm_patchkit.release.checksums import format_checksums
from vllm_patchkit.release.signing import sign as sign_files

CHECKSUMS = "SHA256SUMS"
NOTES = "RELEASE_NOTES.md"
# What a patched wheel carries about itself and a release shows beside it.
EXTRACTS = ("/sboms/", "/provenance")
HEADING = re.compile(r"^## +\[?(?P<title>[^\]\n(]+?)\]?(?: +\(.*\))? *$", re.M)
TIMEOUT_S = 600.0
# 2020-02-02, hatchling's own default: a date that zip can hold and that no clock decides.
EPOCH = "1580601600"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A folder that was written, with the digest of each file in it."""

    folder: Path
    digests: dict[str, str]


def unrecorded(wheels: Sequence[Path]) -> list[str]:
    """Return the names of wheels whose label has the digest of a stack that was not released.

    >>> unrecorded([Path("vllm-0.11.0+own.2.d0123abcd.cpu-cp312-cp312-linux_x86_64.whl")])
    ['vllm-0.11.0+own.2.d0123abcd.cpu-cp312-cp312-linux_x86_64.whl']
    >>> unrecorded([Path("vllm-0.11.0+own.2-cp38-abi3-linux_x86_64.whl")])
    []
    """
    return [wheel.name for wheel in wheels if re.search(r"\.d[0-9a-f]{8}[.-]", wheel.name)]


def make_release(
    *,
    out: Path,
    wheels: Sequence[Path],
    toolkit: Sequence[Path],
    changelog: str,
    version: str,
    sign: bool = False,
) -> Release:
    """Write a release folder: wheels, sdist, SBOMs, provenance, notes, checksums.

    The folder is written beside ``out`` and renamed, so that an interruption leaves nothing.

    :param wheels: patched wheels, as ``vllm-patchkit wheel`` wrote them.
    :param toolkit: what ``python -m build`` wrote for this toolkit.
    :param version: the toolkit's version, whose changelog section becomes the notes.
    :raises UsageError: ``out`` exists, an input is missing, or the changelog has no notes.
    """
    if out.exists():
        raise UsageError(f"{out} exists already", hint="name a new folder, or remove it")
    missing = [path for path in (*wheels, *toolkit) if not path.is_file()]
    if missing:
        raise UsageError(f"not there: {', '.join(map(str, missing))}")
    notes = release_notes(changelog, version)
    with made_whole(out) as scratch:
        scratch.mkdir()
        for path in (*wheels, *toolkit):
            shutil.copyfile(path, scratch / path.name)
        for wheel in wheels:
            for name, data in statements(wheel):
                (scratch / name).write_bytes(data)
        (scratch / NOTES).write_text(notes, encoding="utf-8")
        digests = {path.name: file_sha256(path) for path in sorted(scratch.iterdir())}
        (scratch / CHECKSUMS).write_text(format_checksums(digests), encoding="ascii")
        if sign:
            sign_files(sorted(path for path in scratch.iterdir() if path.suffix != ".md"))
        scratch.chmod(0o755)
    return Release(folder=out, digests=digests)


def statements(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the SBOMs and the provenance inside a wheel, named after it."""
    stem = wheel.name.removesuffix(".whl")
    with Archive(wheel) as archive:
        for member in sorted(member.name for member in archive.members):
            head, _, rest = member.partition(".dist-info/")
            if rest and "/" not in head and any(mark in f"/{rest}" for mark in EXTRACTS):
                yield f"{stem}.{rest.rsplit('/', 1)[-1]}", archive.read(member)


def changelog_sections(text: str) -> dict[str, str]:
    """Return the second-level sections of a changelog by title, newest first.

    >>> changelog_sections("# Changelog\\n\\n## 1.1 (2026-01-02)\\n- b\\n\\n## 1.0\\n- a\\n")
    {'1.1': '- b', '1.0': '- a'}
    """
    found = list(HEADING.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)] if found else []
    return {
        match["title"].strip(): text[match.end() : end].strip()
        for match, end in zip(found, ends, strict=True)
    }


def release_notes(changelog: str, version: str) -> str:
    """Return the notes of ``version``: its section, or "Unreleased" while it has none.

    :raises UsageError: neither section has any text.
    """
    sections = changelog_sections(changelog)
    text = sections.get(version) or sections.get("Unreleased")
    if not text:
        raise UsageError(
            f"CHANGELOG.md says nothing about {version}",
            hint=f'write a section "## {version}", or something under "## Unreleased"',
        )
    return f"# vllm-patchkit {version}\n\n{text}\n"


def build_toolkit(project: Path, out: Path) -> list[Path]:
    """Build sdist and wheel of ``project`` into ``out`` and return them, the sdist first.

    :raises UsageError: ``project`` is no checkout of the toolkit.
    """
    if not (project / "pyproject.toml").is_file():
        raise UsageError(
            f"{project} has no pyproject.toml", hint="name the checkout: --project DIR"
        )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "PYTHONHASHSEED": "0"}
    argv = [*isolated(sys.executable, "build"), "--outdir", out, project]
    try:
        run(argv, env=environment, timeout_s=TIMEOUT_S)
    except CommandFailed as error:
        if not error.last_line.endswith("No module named build"):
            raise
        raise HostError("the toolkit's own wheel needs build", hint="pip install build") from None
    return [*sorted(out.glob("*.tar.gz")), *sorted(out.glob("*.whl"))]
