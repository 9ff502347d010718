"""A stack and an environment for tests that end a process anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.crash import make_crash_environment, make_crash_stack
from support.environments import Environment


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack for tests that end a process anywhere."""
    return make_crash_stack(tmp_path_factory.mktemp("stack") / "tiny")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment for tests that end a process anywhere."""
    return make_crash_environment(tmp_path)
