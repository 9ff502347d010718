"""The sdist of a release comes out of the cache, and into it only with the right bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from vllm_patchkit.errors import CommandFailed, HostError, WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel import sdist
from vllm_patchkit.wheel.sdist import fetch_sdist, write_backend

DATA = b"tests"


@pytest.fixture
def pip(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Stand in for pip, which brings ``brought``; record its requirements."""
    state = {"brought": ("vllm-1.0.tar.gz", DATA), "asked": []}

    def run(argv, *, env):
        folder = Path(argv[argv.index("--dest") + 1])
        state["asked"].append((folder / "requirements.txt").read_text())
        if state["brought"] is None:
            raise CommandFailed(["pip"], 1, "ERROR: No matching distribution\n")
        name, data = state["brought"]
        (folder / name).write_bytes(data)
        return b""

    monkeypatch.setattr(sdist, "run", run)
    entry = {"distribution": "vllm", "version": "1.0", "file": "vllm-1.0.tar.gz", "size": 5}
    pins = {"sdist": {"x": {**entry, "sha256": hashlib.sha256(DATA).hexdigest()}}}
    monkeypatch.setattr(sdist, "read_tables", lambda: pins)
    return state


def test_a_pinned_sdist_is_asked_for_by_hash_and_once(pip):
    path = fetch_sdist("vllm", "1.0", Console(quiet=True))
    assert path.read_bytes() == DATA
    assert pip["asked"] == [f"vllm==1.0 --hash=sha256:{hashlib.sha256(DATA).hexdigest()}\n"]
    assert fetch_sdist("vllm", "1.0", Console(quiet=True)) == path
    assert len(pip["asked"]) == 1


def test_a_damaged_sdist_is_fetched_again(pip):
    path = fetch_sdist("vllm", "1.0", Console(quiet=True))
    path.write_bytes(b"other")
    assert fetch_sdist("vllm", "1.0", Console(quiet=True)).read_bytes() == DATA


def test_another_release_is_taken_as_the_registry_has_it(pip, capsys):
    pip["brought"] = ("vllm-2.0.tar.gz", b"two")
    assert fetch_sdist("vllm", "2.0", Console()).read_bytes() == b"two"
    assert pip["asked"] == ["vllm==2.0\n"]
    assert "no sdist of vllm 2.0 is pinned" in capsys.readouterr().err


def test_what_pip_does_not_bring_is_said(pip):
    pip["brought"] = None
    with pytest.raises(HostError, match="No matching distribution") as error:
        fetch_sdist("vllm", "1.0", Console(quiet=True))
    assert "vllm-1.0.tar.gz" in error.value.hint
    pip["brought"] = ("vllm-1.0.zip", DATA)
    with pytest.raises(WheelError, match=r"expected vllm-1\.0\.tar\.gz"):
        fetch_sdist("vllm", "1.0", Console(quiet=True))


def test_the_backend_answers_as_setuptools_would(tmp_path):
    backend = write_backend(tmp_path, "my-fork", "1.0")
    (tmp_path / "out").mkdir()
    code = (
        "import setuptools.build_meta as b, sys; print(b.prepare_metadata_for_build_wheel('out'))"
    )
    name = subprocess.check_output(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(backend)}, text=True
    ).strip()
    assert name == "my_fork-1.0.dist-info"
    lines = (tmp_path / "out" / name / "METADATA").read_text().splitlines()
    assert lines == ["Metadata-Version: 2.1", "Name: my-fork", "Version: 1.0"]
