"""After apply and after revert, pip and uv treat the distribution as one that they installed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from support.environments import (
    COMMA,
    RELEASE,
    STEP_4,
    check_record,
    make_stack,
    snapshot,
    write_wheel,
)
from vllm_patchkit.operations.targets import apply, revert, status, verify

pytestmark = pytest.mark.slow
PYTHON_ONLY = {path: content for path, content in RELEASE.items() if path.endswith(".py")}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stack(tmp_path_factory.mktemp("stack") / "tiny")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel"))


class Installed:
    """An environment with the wheel in it, by one of the installers."""

    def __init__(self, prefix: Path, tool: str, wheel: Path, cache: Path) -> None:
        self.prefix, self.tool, self.wheel, self.cache = prefix, tool, wheel, cache
        venv.create(prefix, with_pip=False, symlinks=True)
        self.python = prefix / "bin" / "python"
        self.run("install", "--no-deps", str(wheel))
        (self.site,) = (prefix / "lib").glob("python3*/site-packages")
        self.info = "vllm-0.11.0.dist-info"

    def run(self, *words: str, check: bool = True) -> str:
        """Run the installer on this environment and return what it printed."""
        if self.tool == "pip":
            argv = [sys.executable, "-m", "pip", "--python", str(self.python)]
            argv += ["--disable-pip-version-check", "--no-cache-dir", *words]
        else:
            argv = [sys.executable, "-m", "uv", "--cache-dir", str(self.cache), "--offline", "pip"]
            argv += [words[0], "--python", str(self.python), *words[1:]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def uninstall(self) -> None:
        """Uninstall the distribution."""
        self.run("uninstall", *(["--yes"] if self.tool == "pip" else []), "vllm")


@pytest.fixture(params=["pip", "uv"])
def installed(request: pytest.FixtureRequest, tmp_path: Path, wheel: Path) -> Installed:
    return Installed(tmp_path / "env", request.param, wheel, tmp_path / "cache")


def vllm_files(site: Path) -> dict[str, bytes | str]:
    return {
        path: content
        for path, content in snapshot(site).items()
        if path.startswith("vllm") and "__pycache__" not in path
    }


def test_record_check_and_show_hold_after_apply(installed: Installed, stack: Path) -> None:
    """`pip check` finds nothing, `pip show -f` lists every file that is there."""
    before = vllm_files(installed.site)
    assert apply(installed.prefix, stack=stack).done

    assert {path: vllm_files(installed.site)[path] for path in STEP_4} == STEP_4
    assert check_record(installed.site, installed.info) == []
    installed.run("check")
    shown = installed.run("show", "--files", "vllm").splitlines()
    listed = {line.strip() for line in shown}
    assert "vllm/new/pkg/model.py" in listed
    assert COMMA in listed
    assert f"{installed.info}/vllm_patchkit/tiny/applied.json" in listed
    assert "vllm/old.py" not in listed

    revert(installed.prefix, stack=stack)
    assert vllm_files(installed.site) == before


def test_uninstall_after_apply_leaves_no_file(installed: Installed, stack: Path) -> None:
    apply(installed.prefix, stack=stack)
    code = "import vllm.engine, vllm.new.pkg.model"
    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([installed.python, "-c", code], check=True, env=environment)
    assert any("new/pkg/__pycache__" in path for path in snapshot(installed.site))
    installed.uninstall()
    left = [path for path in snapshot(installed.prefix) if "vllm" in path]
    assert left == []


def test_uninstall_after_revert_leaves_no_file(installed: Installed, stack: Path) -> None:
    apply(installed.prefix, stack=stack, upto="0002")
    revert(installed.prefix, stack=stack)
    installed.uninstall()
    left = [path for path in snapshot(installed.prefix) if "vllm" in path]
    assert left == []


def test_a_forced_reinstall_brings_the_base_back(installed: Installed, stack: Path) -> None:
    """No file of the stack stays, and no record says otherwise."""
    before = vllm_files(installed.site)
    apply(installed.prefix, stack=stack)
    force = "--force-reinstall" if installed.tool == "pip" else "--reinstall"
    installed.run("install", force, "--no-deps", str(installed.wheel))
    assert verify(installed.prefix, stack=stack).report.state == "pristine"
    assert status(installed.prefix, stack=stack).stacks[0].applied is None
    assert set(vllm_files(installed.site)) == set(before)


def test_the_cache_of_uv_serves_the_next_environment_unpatched(
    stack: Path, tmp_path: Path, wheel: Path
) -> None:
    """uv hard-links from its cache; what is patched here must not appear there."""
    first = Installed(tmp_path / "first", "uv", wheel, tmp_path / "cache")
    assert (first.site / "vllm/engine.py").stat().st_nlink > 1
    apply(first.prefix, stack=stack)
    second = Installed(tmp_path / "second", "uv", wheel, tmp_path / "cache")
    assert {path: vllm_files(second.site)[path] for path in RELEASE} == RELEASE
    assert verify(second.prefix, stack=stack).report.state == "pristine"


def test_an_editable_install_by_pip(stack: Path, tmp_path: Path) -> None:
    """With a build backend of ten lines, because setuptools would have to be fetched."""
    checkout = tmp_path / "checkout"
    for path, content in PYTHON_ONLY.items():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_bytes(content)
    (checkout / COMMA).parent.mkdir(exist_ok=True)
    (checkout / COMMA).write_bytes(RELEASE[COMMA])
    (checkout / "build_backend.py").write_text(BACKEND)
    (checkout / "pyproject.toml").write_text(
        '[project]\nname = "vllm"\nversion = "0.11.0"\n[build-system]\nrequires = []\n'
        'build-backend = "build_backend"\nbackend-path = ["."]\n'
    )
    prefix = tmp_path / "env"
    venv.create(prefix, with_pip=False, symlinks=True)
    argv = [sys.executable, "-m", "pip", "--python", str(prefix / "bin/python"), "install"]
    argv += ["--no-build-isolation", "--no-deps", "--no-index", "--editable", str(checkout)]
    subprocess.run(argv, check=True, capture_output=True, timeout=600)
    answer = apply(prefix, stack=stack)
    assert answer.target.editable
    code = "import vllm.engine; print(vllm.engine.run())"
    done = subprocess.run([prefix / "bin/python", "-c", code], capture_output=True, check=True)
    assert done.stdout == b"3\n"


BACKEND = """
import pathlib, zipfile

METADATA = "Metadata-Version: 2.1\\nName: vllm\\nVersion: 0.11.0\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "vllm-0.11.0-py3-none-any.whl"
    info = "vllm-0.11.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as archive:
        archive.writestr("vllm_editable.pth", str(pathlib.Path(__file__).parent) + "\\n")
        archive.writestr(f"{info}/METADATA", METADATA)
        archive.writestr(f"{info}/WHEEL", WHEEL)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\\n" for name in archive.namelist()))
    return name
"""
