"""The doctor looks at what is installed: each test breaks a copy of a real environment.

The environment has the real vllm and torch; a copy is hard links, in which files are replaced and
never written to. What is expected is what Python itself does there, where it can be asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.pages import is_shown
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = pytest.mark.network

PACKAGES = ("torch==2.8.0", "typing-extensions", "regex==2025.9.18", "numpy==2.2.6", "pip")
MINOR = f"python3.{sys.version_info.minor}"
# Of an environment that lacks most requirements, and the GPU of a CUDA build.
USUAL = {
    "requirements", "numpy-range", "gpu-missing", "torch-cuda-libraries", "nofile-low", "shm-small",
    "hugepages-reserved", "compiler-missing", "cxx-compiler-missing", "address-space-limit",
}  # fmt: skip


def is_kept(finding: Mapping[str, str]) -> bool:
    """Return whether docs/doctor.md shows what the finding says; "..." stands for anything."""
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    said = f"{finding['severity']}[{finding['code']}]: {finding['what']}"
    blocks = page.partition("## What broken environments print")[2].split("```")[1::2]
    lines = re.sub(r"\n +", " ", "\n".join(blocks)).splitlines()
    return any(is_shown(line, said) for line in lines if line.strip())


class Broken:
    """A copy of the environment, to be broken in one way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python = root / "bin" / "python"
        self.site = root / "lib" / MINOR / "site-packages"
        self.cwd = root.parent

    def write(self, name: str, data: bytes) -> Path:
        """Replace a file; the one that it was linked to stays as it is."""
        path = self.site / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def dist_info(self, name: str) -> Path:
        (found,) = self.site.glob(f"{name}-*.dist-info")
        return found

    def ask(
        self, *words: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vllm_patchkit", "doctor", "--json", *words]
        return subprocess.run(
            [*command, "--cwd", str(self.cwd), "--python", str(self.python)],
            env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def found(self, *words: str, env: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
        """Return the findings by code, less those that the environment has unbroken."""
        done = self.ask(*words, env=env)
        assert done.returncode in (0, 1), done.stderr
        findings = json.loads(done.stdout)["findings"]
        for one in findings:
            assert one["code"] in USUAL or is_kept(one), f"not in docs/doctor.md: {one['what']}"
        return {one["code"]: one for one in findings if one["code"] not in USUAL}

    def run(self, code: str, env: Mapping[str, str] | None = None) -> str:
        """Return what the environment's own Python prints and complains of."""
        done = subprocess.run(
            [self.python, "-c", code], cwd=self.cwd, env={**os.environ, **(env or {})},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("doctor-files") / "env"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, root], check=True)
    wheel = str(fetch_input("vllm-0.11.0"))
    install = [*uv, "pip", "install", "--python", root / "bin/python", "--no-deps"]
    subprocess.run([*install, wheel, *PACKAGES], check=True)
    return root


@pytest.fixture
def env(whole: Path, tmp_path: Path) -> Broken:
    root = tmp_path / "place" / "env"
    root.parent.mkdir()
    subprocess.run(["cp", "-al", whole, root], check=True)
    return Broken(root)


def recorded_digest(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_whole_environment_has_nothing_wrong(env: Broken) -> None:
    found = env.found()
    # Its scripts start the environment that it was copied from, which is there.
    assert set(found) <= {"transformers-range"}


def test_a_compiled_extension_that_is_gone(env: Broken) -> None:
    (env.site / "vllm/_C.abi3.so").unlink()
    finding = env.found()["files-missing"]
    assert "vllm/_C.abi3.so" in finding["what"]
    assert finding["severity"] == "error"
    assert str(env.python) in finding["remedy"]


def test_a_library_of_torch_that_is_gone(env: Broken) -> None:
    (env.site / "torch/lib/libtorch_cpu.so").unlink()
    assert "torch 2.8.0: 1 of" in env.found()["files-missing"]["what"]


def test_a_truncated_module(env: Broken) -> None:
    whole = (env.site / "vllm/config/__init__.py").read_bytes()
    env.write("vllm/config/__init__.py", whole[: len(whole) // 2])
    finding = env.found()["files-changed"]
    assert f"{len(whole) // 2} bytes, recorded {len(whole)}" in finding["what"]


def test_a_changed_byte_is_found_where_hashes_are_asked_for(env: Broken) -> None:
    path = env.site / "regex/_regex_core.py"
    before = recorded_digest(path)
    data = path.read_bytes()
    env.write("regex/_regex_core.py", data[:-2] + b" \n")
    assert recorded_digest(path) != before
    assert "files-changed" not in env.found()
    assert "regex/_regex_core.py" in env.found("--hashes")["files-changed"]["what"]


def test_a_package_whose_folder_is_gone(env: Broken) -> None:
    """What vLLM needs is looked at, too: the dist-info alone satisfies pip, and nobody else."""
    shutil.rmtree(env.site / "regex")
    assert "regex 2025.9.18" in env.found()["files-missing"]["what"]
    assert "No module named 'regex'" in env.run("import regex")


@pytest.mark.parametrize("name", ["torch.py", "regex/__init__.py", "random.py", "json.py"])
def test_a_module_in_the_working_directory(env: Broken, name: str) -> None:
    """Any module that vLLM imports, the standard library's included; the probe is not hit."""
    path = env.cwd / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    finding = env.found()["module-shadowed"]
    module = name.partition("/")[0].removesuffix(".py")
    assert f"`import {module}` loads {path}" in finding["what"]
    assert finding["remedy"].startswith("run from another folder, or rename")
    assert str(path) in env.run(f"import {module}; print({module}.__file__)")


def test_a_module_that_vllm_does_not_import_hides_nothing(env: Broken) -> None:
    (env.cwd / "my_notes.py").write_text("")
    assert "module-shadowed" not in env.found()


def test_a_file_vllm_py_is_to_be_renamed(env: Broken) -> None:
    (env.cwd / "vllm.py").write_text("")
    remedy = env.found()["vllm-shadowed"]["remedy"]
    assert remedy == f"run from another folder, or rename {env.cwd / 'vllm.py'}"


def test_empty_metadata_is_not_a_missing_vllm(env: Broken) -> None:
    env.write(f"{env.dist_info('vllm').name}/METADATA", b"")
    found = env.found()
    assert "metadata-broken" in found
    assert not {"vllm-missing", "gpu-missing"} & set(found)


# Twelve more of our own devising.


def test_an_extension_of_no_bytes(env: Broken) -> None:
    env.write("vllm/_C.abi3.so", b"")
    assert "0 bytes, recorded" in env.found()["files-changed"]["what"]


def test_no_record(env: Broken) -> None:
    (env.dist_info("vllm") / "RECORD").unlink()
    assert env.found()["record-missing"]["severity"] == "warning"


def test_no_metadata(env: Broken) -> None:
    (env.dist_info("torch") / "METADATA").unlink()
    assert "torch-2.8.0.dist-info/METADATA" in env.found()["metadata-broken"]["what"]


def test_what_an_interrupted_pip_left(env: Broken) -> None:
    (env.site / "~orch").mkdir()
    assert "~orch" in env.found()["pip-interrupted"]["what"]


def test_another_numpy_on_pythonpath(env: Broken, tmp_path: Path) -> None:
    (tmp_path / "front/numpy").mkdir(parents=True)
    (tmp_path / "front/numpy/__init__.py").write_text("")
    finding = env.found(env={"PYTHONPATH": str(tmp_path / "front")})["module-shadowed"]
    assert finding["remedy"] == f"take {tmp_path / 'front'} off PYTHONPATH"


def test_an_interpreter_whose_python_was_removed(env: Broken, tmp_path: Path) -> None:
    env.python.unlink()
    env.python.symlink_to(tmp_path / "gone" / "python3")
    done = env.ask()
    assert done.returncode == 3
    assert f"leads to {tmp_path / 'gone/python3'}, which is not there" in done.stderr


def test_no_pyvenv_cfg(env: Broken) -> None:
    (env.root / "pyvenv.cfg").unlink()
    assert str(env.site) in env.found()["venv-unmarked"]["what"]
    assert "No module named 'vllm'" in env.run("import vllm")


def test_an_environment_of_another_python(env: Broken) -> None:
    """As after an upgrade of the system's Python: the packages are of the one before."""
    env.site.parent.rename(env.root / "lib" / "python3.7")
    assert "python3.7/site-packages" in env.found()["venv-other-python"]["what"]


def test_an_environment_that_was_moved(env: Broken) -> None:
    (env.root / "bin/vllm").unlink()
    (env.root / "bin/vllm").write_text("#!/old/place/bin/python\n")
    assert "/old/place/bin/python" in env.found()["scripts-moved"]["what"]


def test_pythonhome(env: Broken, tmp_path: Path) -> None:
    """The tool's own Python has it, too, so only the environment's is given it."""
    env.python.unlink()
    env.python.write_text(f'#!/bin/sh\nPYTHONHOME={tmp_path} exec {sys.executable} "$@"\n')
    env.python.chmod(0o755)
    done = env.ask()
    assert done.returncode == 3
    assert "cannot be questioned" in done.stderr


def test_links_into_a_cache_that_was_cleaned(env: Broken, tmp_path: Path) -> None:
    (env.site / "torch/lib/libc10.so").unlink()
    (env.site / "torch/lib/libc10.so").symlink_to(tmp_path / "cache/libc10.so")
    assert "links to files that are gone" in env.found()["files-missing"]["what"]


def test_another_torch_on_the_library_path(env: Broken, tmp_path: Path) -> None:
    (tmp_path / "libc10.so").write_bytes(b"")
    finding = env.found(env={"LD_LIBRARY_PATH": str(tmp_path)})["library-path"]
    assert finding["remedy"] == f"take {tmp_path} off LD_LIBRARY_PATH"


def test_two_dist_infos_of_torch(env: Broken) -> None:
    env.write(
        "torch-2.7.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: torch\nVersion: 2.7.0\n"
    )
    finding = env.found()["distribution-twice"]
    assert "2.7.0" in finding["what"]
    assert "2.8.0" in finding["what"]


def test_an_image_that_is_not_there_is_not_pulled(tmp_path: Path) -> None:
    """A docker that would pull is never asked to run."""
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n'
        'echo "Error: No such image: my/vllm" >&2\nexit 1\n'
    )
    docker.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "vllm_patchkit", "doctor", "--image", "my/vllm"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "there is no image my/vllm on this machine\nhint: docker pull my/vllm" in done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[:2] for call in calls] == [["image", "inspect"]]
