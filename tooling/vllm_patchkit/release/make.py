"""Put everything that a release publishes into one folder."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.files import file_sha256
from vllm_patchkit.release.checksums import format_checksums
from vllm_patchkit.release.notes import release_notes
from vllm_patchkit.release.signing import sign as sign_files

CHECKSUMS = "SHA256SUMS"
NOTES = "RELEASE_NOTES.md"
# What a patched wheel carries about itself and a release shows beside it.
EXTRACTS = ("/sboms/", "/provenance")


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A folder that was written, with the digest of each file in it."""

    folder: Path
    digests: dict[str, str]


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
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
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
        scratch.rename(out)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Release(folder=out, digests=digests)


def statements(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the SBOMs and the provenance inside a wheel, named after it."""
    stem = wheel.name.removesuffix(".whl")
    with zipfile.ZipFile(wheel) as archive:
        for member in sorted(archive.namelist()):
            head, _, rest = member.partition(".dist-info/")
            if rest and "/" not in head and any(mark in f"/{rest}" for mark in EXTRACTS):
                yield f"{stem}.{rest.rsplit('/', 1)[-1]}", archive.read(member)
