"""Naming the flash-attn release that fits, and checking an installed one, on real ELF files."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from vllm_patchkit.cli import main
from vllm_patchkit.doctor.elf import ElfError, read_library
from vllm_patchkit.doctor.flash_attn import (
    Environment,
    check_installed,
    read_environment,
    release_file,
)
from vllm_patchkit.errors import TargetError, UsageError

# As the project publishes it; also what the README of more than one caller pins.
PUBLISHED = "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
NEW_STRING = "_ZNK3c1010TensorImpl4nameENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
OLD_STRING = "_ZN3c105ErrorC2ENS_14SourceLocationESs"
FITS = Environment(python="3.12", torch="2.8", cuda="12", cxx11_abi=True)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def link_library(path: Path, symbol: str, *, cuda: str | None = None) -> None:
    """Link a library that calls ``symbol``, and needs libcudart of a CUDA release."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".c")
    source.write_text(f'extern void f(void) __asm__("{symbol}"); void g(void) {{ f(); }}\n')
    command = ["gcc", "-shared", "-fPIC", "-o", str(path), str(source)]
    if cuda:
        stub = path.parent / "stub"
        stub.mkdir(exist_ok=True)
        name = f"libcudart.so.{cuda}"
        empty = stub / "empty.c"
        empty.write_text("void h(void) {}\n")
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(stub / name), str(empty)],
            check=True,
        )
        command += ["-Wl,--no-as-needed", str(stub / name)]
    subprocess.run(command, check=True)
    source.unlink()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site-packages with the files of torch 2.8.0 that are read."""
    site = tmp_path / "env" / "lib" / "python3.12" / "site-packages"
    info = site / "torch-2.8.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.8.0\n")
    link_library(site / "torch" / "lib" / "libc10.so", NEW_STRING)
    (site / "torch" / "version.py").write_text(
        "from typing import Optional\n__version__ = '2.8.0+cu128'\n"
        "cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    )
    return site


def install(site: Path, *, file: str | None = PUBLISHED, symbol: str = NEW_STRING) -> None:
    """Put a flash-attn there, as pip does when it is given a file."""
    info = site / "flash_attn-2.8.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flash_attn\nVersion: 2.8.3\n")
    if file:
        address = "file:///w/" + file.replace("+", "%2B")
        (info / "direct_url.json").write_text(json.dumps({"url": address}))
    extension = site / "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so"
    link_library(extension, symbol, cuda="12")


def test_the_file_name_is_the_published_one() -> None:
    assert release_file(FITS) == PUBLISHED


@pytest.mark.parametrize("release", ["2.8.3", "2.8.3.post1"])
def test_the_table_has_the_48_files_of_the_release_workflow(release: str) -> None:
    """Five Pythons by five torches less one pair, each with both ABIs."""
    names = set()
    for python in ("3.9", "3.10", "3.11", "3.12", "3.13"):
        for torch in ("2.4", "2.5", "2.6", "2.7", "2.8"):
            for abi in (True, False):
                if (python, torch) != ("3.13", "2.4"):
                    one = Environment(python=python, torch=torch, cuda="12", cxx11_abi=abi)
                    names.add(release_file(one, release))
    assert len(names) == 48 == (5 * 5 - 1) * 2
    assert all(name.startswith(f"flash_attn-{release}+cu12torch2.") for name in names)


@pytest.mark.parametrize("torch", ["2.9", "2.10"])
def test_what_may_exist_beyond_the_table_is_said(torch: str) -> None:
    with pytest.raises(UsageError, match="added by hand") as caught:
        release_file(Environment(python="3.12", torch=torch, cuda="13", cxx11_abi=True))
    assert caught.value.hint == f"look on its release page for cu13torch{torch}"


def test_the_pair_that_install_notes_name_and_why_it_cannot_load(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    (site.parents[2] / "pyvenv.cfg").write_text("home = /usr/bin\n")
    install(site, file=PUBLISHED.replace("TRUE", "FALSE"), symbol=OLD_STRING)
    assert main(["flash-attn", "--check", "--python", str(site.parents[2])]) == 1
    said = capsys.readouterr()
    page = (Path(__file__).parents[3] / "docs" / "container.md").read_text()
    assert said.out in page
    assert f"the file that fits: {PUBLISHED}\n" == said.err


def test_an_environment_is_read_without_importing_torch(site: Path) -> None:
    environment = read_environment([site])
    assert (environment.python, environment.torch, environment.cuda) == ("3.12", "2.8", "12")
    assert environment.cxx11_abi is True


@pytest.mark.parametrize(
    ("environment", "subject"),
    [
        (Environment(python="3.14", torch="2.8", cuda="12", cxx11_abi=True), "Python"),
        (Environment(python="3.12", torch="2.3", cuda="12", cxx11_abi=True), "torch"),
        (Environment(python="3.12", torch="2.8", cuda="13", cxx11_abi=True), "CUDA"),
        (
            Environment(python="3.12", torch="2.8", cuda="12", cxx11_abi=True, machine="aarch64"),
            "machine",
        ),
    ],
)
def test_what_was_not_published_is_refused_by_name(environment: Environment, subject: str) -> None:
    with pytest.raises(UsageError, match=f"was published for {subject} "):
        release_file(environment)


def test_an_installed_build_that_fits(site: Path) -> None:
    install(site)
    findings = check_installed([site], read_environment([site]))
    assert [(finding.subject, finding.fits) for finding in findings] == [
        ("version", True),
        ("torch it was built for", True),
        ("Python", True),
        ("CUDA", True),
        ("C++11 ABI", True),
    ]


def test_a_build_for_another_torch_and_abi_is_found_out(site: Path) -> None:
    install(site, file=PUBLISHED.replace("torch2.8", "torch2.7"), symbol=OLD_STRING)
    wrong = [f for f in check_installed([site], FITS) if f.fits is False]
    assert [(finding.subject, finding.expected, finding.found) for finding in wrong] == [
        ("torch it was built for", "2.8", "2.7"),
        ("C++11 ABI", "True", "False"),
    ]


def test_what_the_installer_did_not_record_is_unknown_and_not_wrong(site: Path) -> None:
    install(site, file=None)
    unknown = [f.subject for f in check_installed([site], FITS) if f.fits is None]
    assert unknown == ["torch it was built for"]


def test_nothing_installed_and_no_torch(site: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="flash-attn is not installed") as caught:
        check_installed([site], FITS)
    assert caught.value.hint == f"the file that fits: {PUBLISHED}"
    with pytest.raises(TargetError, match="torch is not installed in"):
        read_environment([tmp_path])


def test_a_torch_for_processors_has_no_flash_attn(site: Path) -> None:
    (site / "torch" / "version.py").write_text("__version__ = '2.8.0+cpu'\ncuda = None\n")
    with pytest.raises(TargetError, match="is a torch without CUDA"):
        read_environment([site])


def test_the_dynamic_section_is_what_readelf_prints(tmp_path: Path) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    library = tmp_path / "x.so"
    link_library(library, NEW_STRING, cuda="12")
    printed = subprocess.run(
        ["readelf", "--dynamic", "--wide", str(library)], capture_output=True, text=True, check=True
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in printed.splitlines() if "(NEEDED)" in line]
    assert list(read_library(library).needed) == needed
    assert "libcudart.so.12" in needed


@pytest.mark.parametrize("data", [b"MZ" + bytes(200), b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" * 20])
def test_what_is_no_library_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(data)
    with pytest.raises(ElfError, match=r"x\.so"):
        read_library(path)


def test_the_command_prints_the_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    words = "flash-attn --python-version 3.12 --torch 2.8.0 --cuda 12.8 --cxx11-abi true"
    assert main(words.split()) == 0
    assert capsys.readouterr().out == PUBLISHED + "\n"
    assert main(["flash-attn", "--torch", "2.8"]) == 2
    assert "go together" in capsys.readouterr().err


def test_the_command_checks_an_environment(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    prefix = site.parents[2]
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\n")
    install(site)
    assert main(["flash-attn", "--check", "--python", str(prefix)]) == 0
    out = capsys.readouterr().out
    assert "fits  CUDA: found 12" in out
    (site / "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so").unlink()
    assert main(["flash-attn", "--check", "--python", str(prefix)]) == 1
    assert "does not fit  extension: found none" in capsys.readouterr().out
