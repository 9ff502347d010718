"""A release, its pins and a stack, all tiny, in a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.environments import make_stack
from support.wheels import write_inputs
from vllm_patchkit.wheel import pins


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the pinned wheels into a cache and return its folder of inputs."""
    folder = tmp_path / "cache" / "inputs"
    table = write_inputs(folder)
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(folder.parent))
    monkeypatch.setattr(pins, "inputs_file", lambda: table)
    return folder


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    return make_stack(tmp_path / "patches" / "tiny")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
