"""The toolkit's own sdist and wheel: what is in them, and that they need no checkout."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.environments import check_record
from vllm_patchkit import __version__
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.toml import parse_toml
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = [pytest.mark.network, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
INFO = f"vllm_patchkit-{__version__}.dist-info"
# Checkout -> package, for what lies outside the package's folder.
DATA = {
    "patches/": "vllm_patchkit/_stacks/",
    "wheels/inputs.toml": "vllm_patchkit/_wheels/inputs.toml",
    "wheels/requirements-cpu.lock": "vllm_patchkit/_wheels/requirements-cpu.lock",
    "wheels/requirements-cpu-0.32.0.lock": "vllm_patchkit/_wheels/requirements-cpu-0.32.0.lock",
    "wheels/requirements-cuda.lock": "vllm_patchkit/_wheels/requirements-cuda.lock",
    "wheels/requirements-tests.lock": "vllm_patchkit/_wheels/requirements-tests.lock",
    "ci/Dockerfile": "vllm_patchkit/_ci/Dockerfile",
    "ci/image/": "vllm_patchkit/_ci/image/",
    "tooling/": "",
}


def tracked() -> list[str]:
    """Return the files that version control has, and that are there."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, check=True)
    return [path for path in listed.stdout.decode().splitlines() if (ROOT / path).is_file()]


def build(folder: Path, **surroundings: str) -> dict[str, Path]:
    """Copy the checkout to ``folder``, build there, and return sdist and wheel by suffix."""
    for path in tracked():
        target = folder / "source" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    umask = int(surroundings.pop("umask", "022"), 8)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", "."],
        cwd=folder / "source",
        env={**os.environ, **surroundings},
        umask=umask,
        check=True,
        capture_output=True,
    )
    return {path.suffix: path for path in (folder / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("one"))


def test_the_wheel_has_the_package_the_stacks_and_the_locks(built: dict[str, Path]) -> None:
    expected = {
        f"{INFO}/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    for path in tracked():
        for source, target in DATA.items():
            if path == source or (source.endswith("/") and path.startswith(source)):
                expected.add(target + path.removeprefix(source))
    assert set(zipfile.ZipFile(built[".whl"]).namelist()) == expected


def test_the_sdist_is_the_checkout(built: dict[str, Path]) -> None:
    with tarfile.open(built[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == {*tracked(), "PKG-INFO"}


def test_other_surroundings_give_the_same_bytes(built: dict[str, Path], tmp_path: Path) -> None:
    again = build(
        tmp_path / "a longer path, with spaces",
        umask="077",
        TZ="Asia/Kathmandu",
        LC_ALL="C",
        PYTHONHASHSEED="7",
    )
    for suffix in (".whl", ".gz"):
        digests = {hashlib.sha256(one[suffix].read_bytes()).digest() for one in (built, again)}
        assert len(digests) == 1, suffix


def test_the_tools_of_the_index_are_content(built: dict[str, Path]) -> None:
    files = list(built.values())
    subprocess.run([BIN / "twine", "check", "--strict", *files], check=True)
    subprocess.run([BIN / "check-wheel-contents", built[".whl"]], check=True)


def test_the_build_requirement_is_the_one_that_the_tests_build_with() -> None:
    project = parse_toml((ROOT / "pyproject.toml").read_bytes(), "pyproject.toml")
    (requirement,) = project["build-system"]["requires"]
    assert requirement in project["dependency-groups"]["dev"]


@pytest.fixture(scope="module")
def elsewhere(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new environment, outside of any checkout, that has nothing but the wheel."""
    folder = tmp_path_factory.mktemp("elsewhere")
    uv = BIN / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    python = folder / "env/bin/python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, built[".whl"]], check=True)
    return folder


def call(folder: Path, *words: str) -> str:
    """Run the installed command in ``folder``, with a home of its own, and return its stdout."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "VLLM_PATCHKIT_CACHE": str(cache_dir()),
    }
    done = subprocess.run(
        [folder / "env/bin/vllm-patchkit", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_installed_whole(elsewhere: Path) -> None:
    (site,) = elsewhere.glob("env/lib/python3*/site-packages")
    assert [fault for fault in check_record(site, INFO) if "vllm_patchkit" in fault] == []
    assert call(elsewhere, "--version") == f"{__version__}\n"


def test_its_stacks_are_sound_without_the_checkout(elsewhere: Path) -> None:
    answer = json.loads(call(elsewhere, "lint", "emu3_5", "--json"))
    assert answer["findings"] == []
    answer = json.loads(call(elsewhere, "refresh", "emu3_5", "--check", "--json"))
    assert answer["changed"] == []


def test_it_builds_the_same_wheel_as_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    from vllm_patchkit import build_wheel

    words = ("wheel", "--stack", "emu3_5", "--flavor", "cpu", "--out", "out")
    there = elsewhere / call(elsewhere, *words).strip()
    here = build_wheel(ROOT / "patches/emu3_5", flavor="cpu", out=tmp_path).path
    assert there.name == here.name
    assert there.read_bytes() == here.read_bytes()


def test_plain_docker_is_told_that_it_needs_a_checkout(elsewhere: Path) -> None:
    """What docker could not find below its context is refused before docker is called."""
    call(elsewhere, "wheel", "--stack", "emu3_5", "--flavor", "cpu")
    words = [elsewhere / "env/bin/vllm-patchkit", "image", "--flavor", "cpu", "--print-args"]
    done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "docker build would not find" in done.stderr
    assert "Traceback" not in done.stderr
    shutil.rmtree(elsewhere / "wheels")


def test_it_patches_a_wheel_given_by_name(elsewhere: Path) -> None:
    base = fetch_input("vllm-0.11.0", Console(quiet=True))
    made = (
        elsewhere
        / call(elsewhere, "wheel", "--stack", "emu3_5", "--base", str(base), "--out", "out").strip()
    )
    assert "applied" in call(elsewhere, "verify", "--expect", "applied", str(made))
    made.unlink()


def test_what_smoke_and_image_need_is_there(elsewhere: Path) -> None:
    """Both look for a checkout first and then for what the package brings."""
    code = (
        "from pathlib import Path\n"
        "from vllm_patchkit.container.image import find_files, find_requirements as for_image\n"
        "from vllm_patchkit.launch.wheel_environment import find_requirements as for_smoke\n"
        "files = find_files(Path.cwd())\n"
        "print(files / 'Dockerfile',\n"
        "      for_image('cuda', '0.11.0+emu3.5.1', files), for_image('cpu', '0.11.0', files),\n"
        "      for_image('cpu', '0.32.0', files),\n"
        "      for_smoke('vllm-0.11.0-cp38-abi3-linux_x86_64.whl'),\n"
        "      for_smoke('vllm-0.11.0+emu3.5.1.cpu-cp312-cp312-linux_x86_64.whl'),\n"
        "      for_smoke('vllm-0.32.0+x.1.cpu-cp38-abi3-linux_x86_64.whl'), sep='\\n')\n"
    )
    done = subprocess.run(
        [elsewhere / "env/bin/python", "-I", "-c", code],
        cwd=elsewhere, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = [Path(line) for line in done.stdout.splitlines()]
    cuda, cpu = "requirements-cuda.lock", "requirements-cpu.lock"
    other = "requirements-cpu-0.32.0.lock"
    assert [path.name for path in paths] == ["Dockerfile", cuda, cpu, other, cuda, cpu, other]
    assert all(path.is_file() and elsewhere in path.parents for path in paths)
