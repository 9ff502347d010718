"""The tiny stack and an environment for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.environments import Environment, install, make_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stack of four patches, locked; the tests of a file share it and leave it alone."""
    return make_stack(tmp_path_factory.mktemp("stack") / "tiny")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment with the release that the tiny stack is cut from."""
    return install(tmp_path / "env")
