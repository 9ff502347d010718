"""A release folder is whole or it is refused."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from support.wheels import make_wheel
from vllm_patchkit.cli import main
from vllm_patchkit.errors import HostError, UsageError, WheelError
from vllm_patchkit.release.checksums import format_checksums, parse_checksums
from vllm_patchkit.release.make import (
    changelog_sections,
    make_release,
    release_notes,
    statements,
    unrecorded,
)
from vllm_patchkit.release.signing import require_sigstore
from vllm_patchkit.release.verify import verify_release

CHANGELOG = "# Changelog\n\n## Unreleased\n\n- Something.\n\n## 1.0 (2026-01-01)\n\n- First.\n"


def write_wheel(path: Path) -> Path:
    """Write a small valid wheel that carries an SBOM and a provenance statement."""
    info = "demo-1.0.dist-info"
    members = {
        "demo/__init__.py": b"",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/sboms/demo.cdx.json": b"{}\n",
        f"{info}/provenance.json": b"{}\n",
    }
    rows = [f"{name},sha256={_b64(data)},{len(data)}" for name, data in members.items()]
    rows.append(f"{info}/RECORD,,")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "\n".join(rows) + "\n")
    return path


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def test_out_away_from_the_toolkit_s_checkout_names_both_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["release", "--project", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/CHANGELOG.md does not exist" in said
    assert ("--project" in said, "--index" in said) == (True, True)


def test_a_wheel_of_no_recorded_version_is_named(tmp_path: Path) -> None:
    """Other labels may begin with a d, or have eight digits."""
    names = ["a-1+own.1.d0123abcd-py3-none-any.whl", "a-1+own.1.d0123abcd.cpu-py3-none-any.whl",
             "a-1+own.1-py3-none-any.whl", "a-1+dev.20261126-py3-none-any.whl"]  # fmt: skip
    assert unrecorded([tmp_path / name for name in names]) == names[:2]


def test_an_index_names_it_as_a_release_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version, named in (("0.11.0+own.1.d0123abcd", True), ("0.11.0+own.1", False)):
        wheel = make_wheel(tmp_path, {"vllm/__init__.py": b""}, version=version,
                           file_name=f"vllm-{version}-py3-none-any.whl")  # fmt: skip
        assert main(["release", "--index", str(tmp_path / "simple"), str(wheel)]) == 0
        assert (f"{wheel.name} is no recorded version" in capsys.readouterr().err) is named


@pytest.fixture
def release(tmp_path: Path) -> Path:
    wheel = write_wheel(tmp_path / "demo-1.0-py3-none-any.whl")
    sdist = tmp_path / "toolkit-1.0.tar.gz"
    sdist.write_bytes(b"sdist")
    made = make_release(
        out=tmp_path / "release",
        wheels=[wheel],
        toolkit=[sdist],
        changelog=CHANGELOG,
        version="1.0",
    )
    return made.folder


def problems(folder: Path) -> list[str]:
    return [f"{c.subject}: {c.problem}" for c in verify_release(folder) if c.problem]


def test_a_fresh_release_verifies(release: Path) -> None:
    assert problems(release) == []
    assert {path.name for path in release.iterdir()} == {
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-py3-none-any.demo.cdx.json",
        "demo-1.0-py3-none-any.provenance.json",
        "toolkit-1.0.tar.gz",
        "RELEASE_NOTES.md",
        "SHA256SUMS",
    }


def test_sha256sum_itself_agrees(release: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=release,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["toolkit-1.0.tar.gz", "RELEASE_NOTES.md"])
def test_a_changed_file_is_named(name: str, release: Path) -> None:
    (release / name).write_bytes(b"changed")
    assert [problem.split(":")[0] for problem in problems(release)] == [name]


def test_a_missing_and_an_extra_file_are_named(release: Path) -> None:
    (release / "toolkit-1.0.tar.gz").rename(release / "other.tar.gz")
    found = problems(release)
    assert any("other.tar.gz: is not listed" in problem for problem in found)
    assert any("toolkit-1.0.tar.gz: is missing" in problem for problem in found)


def test_a_link_is_not_a_file(release: Path, tmp_path: Path) -> None:
    """A symbolic link could point anywhere by the time the release is used."""
    target = tmp_path / "elsewhere"
    (release / "toolkit-1.0.tar.gz").rename(target)
    (release / "toolkit-1.0.tar.gz").symlink_to(target)
    assert any("no regular file" in problem for problem in problems(release))


def test_a_statement_that_the_wheel_does_not_carry(release: Path) -> None:
    """Checksums that were made again after a swap do not hide it."""
    sbom = release / "demo-1.0-py3-none-any.demo.cdx.json"
    sbom.write_bytes(b'{"components": []}\n')
    sums = parse_checksums((release / "SHA256SUMS").read_text())
    sums[sbom.name] = hashlib.sha256(sbom.read_bytes()).hexdigest()
    (release / "SHA256SUMS").write_text(format_checksums(sums))
    assert any("is not the statement" in problem for problem in problems(release))


def test_a_wheel_whose_record_lies(release: Path) -> None:
    wheel = release / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("demo/stowaway.py", b"import os\n")
    sums = parse_checksums((release / "SHA256SUMS").read_text())
    sums[wheel.name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (release / "SHA256SUMS").write_text(format_checksums(sums))
    assert any("stowaway" in problem for problem in problems(release))


def test_nothing_is_left_where_the_notes_are_missing(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "demo-1.0-py3-none-any.whl")
    with pytest.raises(UsageError, match=r"says nothing about 2\.0"):
        make_release(
            out=tmp_path / "out",
            wheels=[wheel],
            toolkit=[],
            changelog="# Changelog\n",
            version="2.0",
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == [wheel.name]


def test_an_existing_folder_is_not_touched(release: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        make_release(out=release, wheels=[], toolkit=[], changelog=CHANGELOG, version="1.0")
    assert problems(release) == []


def test_statements_are_taken_from_the_dist_info_only(tmp_path: Path) -> None:
    wheel = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("demo/fake.dist-info/sboms/planted.json", b"{}")
        archive.writestr("demo/sboms/planted.json", b"{}")
        archive.writestr("demo-1.0.dist-info/sboms/real.json", b"{}")
    assert [name for name, _ in statements(wheel)] == ["demo-1.0-py3-none-any.real.json"]


@pytest.mark.parametrize(
    "text", ["abc  file\n", "0" * 64 + "  ../up\n", "0" * 64 + "  a\n" + "1" * 64 + "  a\n"]
)
def test_checksums_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(WheelError, match="SHA256SUMS, line"):
        parse_checksums(text)


def test_notes_come_from_the_section_of_the_version() -> None:
    assert changelog_sections(CHANGELOG) == {"Unreleased": "- Something.", "1.0": "- First."}
    assert release_notes(CHANGELOG, "1.0").endswith("- First.\n")
    assert release_notes(CHANGELOG, "1.1").endswith("- Something.\n")


def test_the_command_reports_and_fails(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify-release", str(release)]) == 0
    (release / "RELEASE_NOTES.md").write_text("other")
    assert main(["verify-release", str(release)]) == 1
    assert "RELEASE_NOTES.md: sha256" in capsys.readouterr().out
    assert main(["verify-release", str(release / "nothing")]) == 2
    assert main(["verify-release", str(release), "--identity", "me"]) == 2


def test_signatures_are_asked_for_only_with_sigstore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm_patchkit.release.signing.find_spec", lambda name: None)
    with pytest.raises(HostError, match="sigstore is not installed"):
        require_sigstore()
