"""Check a release folder: every file, every wheel, every statement, every signature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.errors import CommandFailed, HostError, PatchkitError, UsageError, WheelError
from vllm_patchkit.host.files import file_sha256
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.release.checksums import parse_checksums
from vllm_patchkit.release.make import CHECKSUMS, NOTES, statements
from vllm_patchkit.release.signing import BUNDLE_SUFFIX, bundle_of, verify_signature
from vllm_patchkit.wheel.contents import read_contents
from vllm_patchkit.wheel.integrity import require_sound


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Who must have signed a release: a certificate identity and its OIDC issuer."""

    identity: str
    issuer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check of one file; ``problem`` is None where it holds."""

    subject: str
    name: str
    problem: str | None = None


def verify_release(folder: Path, *, signer: Signer | None = None) -> list[Check]:
    """Return every check of a release folder, in the order of its files.

    Without ``signer`` signatures are not looked at: the checksums prove that the folder is whole,
    not who made it.

    :raises UsageError: there is no release in ``folder``.
    """
    if not (folder / CHECKSUMS).is_file():
        raise UsageError(f"{folder} holds no {CHECKSUMS}", hint="name a folder of `make release`")
    checks = list(_check_files(folder))
    intact = {check.subject for check in checks if check.problem is None}
    for wheel in sorted(folder.glob("*.whl")):
        if wheel.name in intact:
            checks += _check_wheel(wheel)
    if signer:
        checks += [_check_signature(folder / name, signer) for name in sorted(_signed(folder))]
    return checks


def _check_files(folder: Path) -> Iterator[Check]:
    try:
        digests = parse_checksums((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (WheelError, UnicodeDecodeError) as error:
        yield Check(subject=CHECKSUMS, name="format", problem=str(error))
        return
    present = {path.name for path in folder.iterdir() if not path.name.endswith(BUNDLE_SUFFIX)}
    for name in sorted(set(digests) | present - {CHECKSUMS}):
        path = folder / name
        if name not in digests:
            problem: str | None = f"is not listed in {CHECKSUMS}"
        elif path.is_symlink() or not path.is_file():
            problem = "is missing, or no regular file"
        else:
            found = file_sha256(path)
            problem = None if found == digests[name] else f"sha256 is {found}"
            problem = problem and f"{problem}, {CHECKSUMS} says {digests[name]}"
        yield Check(subject=name, name="sha256", problem=problem)
    if NOTES not in digests:
        yield Check(subject=NOTES, name="listed", problem="the release has no notes")


def _check_wheel(wheel: Path) -> Iterator[Check]:
    try:
        _require_sound_wheel(wheel)
    except WheelError as error:
        yield Check(subject=wheel.name, name="RECORD", problem=str(error))
        return
    yield Check(subject=wheel.name, name="RECORD")
    for name, data in statements(wheel):
        beside = wheel.with_name(name)
        same = beside.is_file() and beside.read_bytes() == data
        problem = None if same else f"is not the statement that {wheel.name} carries"
        yield Check(subject=name, name="statement", problem=problem)


def _require_sound_wheel(wheel: Path) -> None:
    with Archive(wheel) as archive:
        require_sound(archive, read_contents(archive).rows, Console(quiet=True))


def _signed(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.name != NOTES and not path.name.endswith(BUNDLE_SUFFIX):
            yield path.name


def _check_signature(path: Path, signer: Signer) -> Check:
    if not bundle_of(path).is_file():
        return Check(subject=path.name, name="signature", problem="has no signature")
    try:
        verify_signature(path, identity=signer.identity, issuer=signer.issuer)
    except HostError:
        raise
    except (CommandFailed, PatchkitError) as error:
        return Check(subject=path.name, name="signature", problem=str(error))
    return Check(subject=path.name, name="signature")
