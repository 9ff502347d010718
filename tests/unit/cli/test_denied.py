"""What a user may not read has one code, one message and a way out, whichever command reads it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import denied
from vllm_patchkit.cli import COMMANDS

# They read nothing that the call names.
READ_NOTHING = {"completion"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, int, str, str]]:
    """Every call's answer, of one process without the right to read everything."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed (Debian: util-linux), and root may read everything")
    words = [*(denied.ORDINARY if os.geteuid() == 0 else []), sys.executable, denied.__file__]
    folder = tmp_path_factory.mktemp("denied")
    cache = str(tmp_path_factory.mktemp("cache"))
    done = subprocess.run(
        [*words, folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "VLLM_PATCHKIT_CACHE": cache, "PIP_NO_INDEX": "1"},
    )
    found = [json.loads(row) for row in re.findall(r"^called (.*)$", done.stdout, re.MULTILINE)]
    assert done.returncode == 0, done.stderr[-2000:]
    return found


def test_every_command_is_asked() -> None:
    assert {call.split()[0] for call in denied.CALLS} | READ_NOTHING == set(COMMANDS)


@pytest.mark.parametrize("call", denied.CALLS)
def test_what_may_not_be_read_is_said(
    call: str, answers: list[tuple[str, str, int, str, str]]
) -> None:
    own = [answer for answer in answers if answer[0] == call]
    assert len(own) == sum(map(len, denied.CALLS[call].values()))
    for _, path, code, _, said in own:
        assert code == 3, (path, said)
        assert re.search(
            rf"^vllm-patchkit: error: you have no permission to read .*\n"
            rf"hint: run as (\S+), whose it is, or let \1 do: chmod a\+rX {re.escape(path)}$",
            said,
            re.MULTILINE,
        ), (path, said)


def test_a_folder_of_its_name_is_not_a_program_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--python env`` once ran /usr/bin/env where the folder had no interpreter."""
    from vllm_patchkit.errors import UsageError
    from vllm_patchkit.launch.subject import find_environment

    (tmp_path / "env").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="env is neither an interpreter"):
        find_environment(Path("env"))
