"""Broken environments that are small: an interpreter, and dist-infos that are written here."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vllm_patchkit.doctor.diagnose import diagnose
from vllm_patchkit.doctor.facts import collect_facts
from vllm_patchkit.doctor.model import Finding
from vllm_patchkit.errors import HostError, UsageError

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Environment:
    """A virtual environment with a vllm and a torch of one module each."""

    def __init__(self, root: Path) -> None:
        self.root, self.python = root, root / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
        self.site = root / "lib" / MINOR / "site-packages"
        self.install("vllm", "0.11.0+x.cpu", ["torch==2.8.0"])
        self.install("torch", "2.8.0", [])

    def install(self, name: str, version: str, requires: list[str]) -> None:
        (self.site / name).mkdir()
        (self.site / name / "__init__.py").write_text("")
        info = f"{name}-{version}.dist-info"
        (self.site / info).mkdir()
        needed = "".join(f"Requires-Dist: {one}\n" for one in requires)
        (self.site / info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}"
        )
        (self.site / info / "RECORD").write_text(
            f"{name}/__init__.py,,0\n{info}/METADATA,,\n{info}/RECORD,,\n"
        )

    def info(self, name: str) -> Path:
        (found,) = self.site.glob(f"{name}-*.dist-info")
        return found

    def found(self) -> dict[str, Finding]:
        facts = collect_facts(self.python, cwd=self.root)
        return {one.code: one for one in diagnose(facts, subject="here").findings}


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


def test_the_small_environment_is_whole(env: Environment) -> None:
    codes = {code for code in env.found() if code.startswith(("files", "record", "meta", "vllm"))}
    assert codes == set()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(env: Environment) -> None:
    (env.site / "torch" / "__init__.py").chmod(0)
    assert "torch/__init__.py" in env.found()["files-unreadable"].what


@pytest.mark.parametrize("text", ["", "torch/__init__.py,,0\n", "torch/a\0b.py,,0\n"])
def test_a_record_that_does_not_list_itself(env: Environment, text: str) -> None:
    (env.info("torch") / "RECORD").write_text(text)
    assert "can be read to its end" in env.found()["record-missing"].what


def test_a_record_that_ends_within_a_line(env: Environment) -> None:
    record = env.info("torch") / "RECORD"
    record.write_text(record.read_text() + "torch/_C.so,sha256=ab")
    assert "can be read to its end" in env.found()["record-missing"].what


def test_a_folder_that_links_to_itself(env: Environment) -> None:
    (env.site / "torch" / "__init__.py").unlink()
    (env.site / "torch" / "__init__.py").symlink_to("__init__.py")
    assert "torch/__init__.py" in env.found()["files-missing"].what


def test_a_version_that_is_none(env: Environment) -> None:
    """The package is there, so it is not called missing."""
    file = env.info("torch") / "METADATA"
    file.write_text(file.read_text().replace("2.8.0", "two"))
    found = env.found()
    assert "METADATA" in found["metadata-broken"].what
    assert {"torch-missing", "requirements"} & set(found) == set()


def test_a_requirement_that_is_none(env: Environment) -> None:
    env.install("transformers", "4.57.1", ["((( tokenizers<1"])
    assert "transformers-range" not in env.found()


def test_a_zip_file_hides_torch(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(env.root / "front.zip", "w") as archive:
        archive.writestr("torch/__init__.py", "")
    monkeypatch.setenv("PYTHONPATH", str(env.root / "front.zip"))
    finding = env.found()["module-shadowed"]
    assert "front.zip/torch/__init__.py" in finding.what
    assert finding.remedy == f"take {env.root / 'front.zip'} off PYTHONPATH"


@pytest.mark.parametrize("there", [True, False])
def test_an_editable_vllm(env: Environment, tmp_path: Path, there: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (env.site / "vllm").rename(source / "vllm" if there else tmp_path / "gone")
    (env.site / "vllm.pth").write_text(f"{source}\n")
    (env.info("vllm") / "direct_url.json").write_text(
        f'{{"url": "file://{source}", "dir_info": {{"editable": true}}}}'
    )
    found = env.found()
    assert "vllm-shadowed" not in found
    assert ("vllm-missing" in found) == (not there)
    if not there:
        assert f"editable install of file://{source}" in found["vllm-missing"].what


def test_what_a_pth_file_prints_is_no_answer(env: Environment) -> None:
    (env.site / "a.pth").write_text("import sys, atexit; print(1); atexit.register(print, 2)\n")
    assert "startup-error" not in env.found()


def test_a_pth_file_of_which_python_complains(env: Environment) -> None:
    (env.site / "a.pth").write_text("import nosuch\n")
    assert f"{env.site / 'a.pth'}: ModuleNotFoundError" in env.found()["startup-error"].what


@pytest.mark.parametrize("data", [b"import sys; sys.exit(3)\n"])
def test_a_pth_file_that_ends_python(env: Environment, data: bytes) -> None:
    (env.site / "a.pth").write_bytes(data)
    with pytest.raises(HostError, match="cannot be questioned: SystemExit: 3") as caught:
        env.found()
    assert caught.value.hint is not None
    assert "-S starts" in caught.value.hint


def test_a_program_that_is_no_python(env: Environment) -> None:
    env.python.unlink()
    env.python.write_text("#!/bin/sh\necho '[1]'\n")
    env.python.chmod(0o755)
    with pytest.raises(HostError, match="it is no Python"):
        env.found()


def test_folders_that_are_none(env: Environment, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*/bin/python"):
        collect_facts(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no folder that you may enter"):
        collect_facts(env.python, cwd=tmp_path / "file")


@pytest.mark.parametrize("line", [b"NVIDIA GB10, [N/A], [N/A], ERR!, 12.1", b"\xff, 1, 1, 580, 9"])
def test_what_nvidia_smi_may_answer(
    env: Environment, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    """A GPU that shares the machine's memory names none."""
    program = env.root / "nvidia-smi"
    program.write_bytes(b"#!/bin/sh\ncat <<'E'\n" + line + b"\nE\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{env.root}:{os.environ['PATH']}")
    assert "vllm-cpu-on-gpu" in env.found()
