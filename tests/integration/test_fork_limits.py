"""The limits that docs/maintaining.md states: one patch, and five hundred on the real release."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from support.big_stack import write_big_stack
from support.forks import Git, call, read_patches
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = [pytest.mark.network, pytest.mark.slow]

PATCHES = 500


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    wheels = [fetch_input("vllm-0.11.0"), fetch_input("vllm-0.11.1")]
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "inputs").symlink_to(wheels[0].parent)
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(cache))
    folder = tmp_path / "release"
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith("vllm/v1/")])
    return folder


def make_stack(release: Path, folder: Path, count: int) -> Path:
    paths = [
        path.relative_to(release).as_posix()
        for path in sorted(release.rglob("*.py"))
        if path.stat().st_size > 2000
    ]
    return write_big_stack(folder, paths, lambda path: (release / path).read_bytes(), count)


def test_five_hundred_patches(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = make_stack(release, tmp_path / "big", PATCHES)
    said = call(capsys, "refresh", stack)
    assert said.code == 0, said.err
    patches = read_patches(stack)
    assert len(patches) == PATCHES

    shutil.copytree(release, tmp_path / "oracle")
    oracle = Git(tmp_path / "oracle")
    oracle.run("init", "--quiet")
    oracle.run("add", "--all", "--force")
    oracle.run("commit", "--quiet", "-m", "release")
    oracle.run("tag", "base")
    oracle.run("am", "--quiet", "--keep-non-patch", *(stack / name for name in patches))
    work = Git(Path(call(capsys, "edit", stack).out.strip()))
    form = "--format=%an|%ae|%ad|%s|%b"
    assert work.run("log", form, "refs/patchkit/base..") == oracle.run("log", form, "base..")
    files = sorted(release.rglob("*.py"))
    assert len(files) > 100
    for file in files:
        path = file.relative_to(release)
        assert (work.folder / path).read_bytes() == (oracle.folder / path).read_bytes()

    assert call(capsys, "refresh", stack).code == 0
    assert read_patches(stack) == patches

    said = call(capsys, "rebase", stack, "--dry-run", "--onto", "0.11.1", "--json")
    (reports,) = json.loads(said.out)["releases"].values()
    assert len(reports) == PATCHES
    assert {report["status"] for report in reports} <= {"clean", "moved", "conflict"}


def test_one_patch(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = make_stack(release, tmp_path / "small", 1)
    assert call(capsys, "refresh", stack).code == 0
    assert call(capsys, "refresh", stack, "--check").code == 0
    tree = tmp_path / "patched"
    shutil.copytree(release, tree)
    (patch,) = stack.glob("*.patch")
    subprocess.run(["patch", "-p1", "--quiet", "-i", patch], cwd=tree, check=True)
    assert "merges without it" in call(capsys, "matrix", stack).out
