"""What an environment lacks for upstream's tests lies in a folder beside it, complete or not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vllm_patchkit.errors import CommandFailed, HostError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.launch import supply
from vllm_patchkit.launch.supply import find_supply


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stand in for the interpreter's answer and for pip; record how pip is called."""
    state = {"has": b"False\n", "fails": False, "calls": []}

    def run(argv):
        if argv[0] == "python":
            return state["has"]
        state["calls"].append([str(word) for word in argv])
        if state["fails"]:
            raise CommandFailed(["pip"], 1, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n")
        (Path(argv[argv.index("--target") + 1]) / "pytest").mkdir(parents=True)
        return b""

    monkeypatch.setattr(supply, "run", run)
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(tmp_path))
    return state


def test_it_is_fetched_once_by_hash_into_the_cache(pip, tmp_path):
    folder = find_supply("python", Console(quiet=True))
    assert folder.parent == tmp_path / "supply"
    assert (folder / "pytest").is_dir()
    assert find_supply("python", Console(quiet=True)) == folder
    (call,) = pip["calls"]
    assert call[0] == sys.executable
    assert "--require-hashes" in call


def test_an_environment_that_has_all_needs_none(pip):
    pip["has"] = b"True\n"
    assert find_supply("python", Console(quiet=True)) is None
    assert not pip["calls"]


def test_a_failure_leaves_nothing_behind(pip, tmp_path):
    pip["fails"] = True
    with pytest.raises(HostError, match="DO NOT MATCH THE HASHES") as error:
        find_supply("python", Console(quiet=True))
    assert "pytest" in error.value.hint
    assert not list((tmp_path / "supply").iterdir())
