"""The folder that a test of the fork commands works in."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.forks import RELEASE_1, put_release


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cache that has release 1.0, and no git configuration but a hostile one."""
    cache = tmp_path / "cache"
    put_release(cache, "1.0", RELEASE_1)
    hostile = tmp_path / "gitconfig"
    hostile.write_text(
        "[core]\n\tautocrlf = true\n\tabbrev = 7\n[diff]\n\tnoprefix = true\n"
        "\talgorithm = patience\n\tcontext = 9\n\texternal = false\n"
        "[format]\n\tsignOff = true\n\tsubjectPrefix = X\n[commit]\n\tgpgSign = true\n"
    )
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(cache))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(hostile))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path
