"""The blocks of docs/emu3_5.md, each pasted into a file and run by itself, as a reader does.

The reader has an empty folder, an empty home and no settings but those that the page has for a
machine with other work; what vLLM compiles for the first block is found by the others. Only the
server gets a free port.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server import Server, free_port

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / ".venv" / "bin" / "vllm-patchkit"
PAGE = (ROOT / "docs" / "emu3_5.md").read_text()
BIN = "/opt/vllm/bin/"
# The first block compiles, beside whatever else this machine does.
BLOCK_S = 1800
# What the page has for a machine with other work.
QUIET = dict(re.findall(r"(VLLM_CPU_OMP_THREADS_BIND|OMP_NUM_THREADS)=(\w+)", PAGE))
# A program, and what the page says that it prints.
PROGRAMS = re.findall(
    r"^```python\n(.*?)^```$(?:\n+[^`]*?:?\n*^```text\n(.*?)^```$)?", PAGE, re.DOTALL | re.MULTILINE
)
COMMANDS = re.findall(r"^```sh\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.slow


class Reader:
    """Somebody with a shell in a folder, and the environment of the page somewhere."""

    def __init__(self, folder: Path):
        self.folder = folder / "work"
        self.folder.mkdir()
        path = f"{TOOL.parent}:{os.environ['PATH']}"
        self.environment = {"HOME": str(folder), "PATH": path, "VLLM_NO_USAGE_STATS": "1", **QUIET}

    def words(self, command: str) -> list[str]:
        return command.replace(BIN, f"{Path(sys.executable).parent}/").split()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_S,
            check=False,
        )

    def paste(self, program: str) -> list[str]:
        """Run a program in a process of its own; return the lines that it prints."""
        file = self.folder / "pasted.py"
        file.write_text(program)
        done = self.run(sys.executable, file.name)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout.splitlines()


class Serving(Server):
    """The page's `vllm serve`, on a free port."""

    def __init__(self, reader: Reader, command: str):
        self.port, self.log = free_port(), reader.folder / "log"
        words = [*reader.words(command), "--port", str(self.port)]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                words,
                cwd=reader.folder,
                env=reader.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader who wrote the checkpoint as the page says."""
    if not TOOL.exists() and shutil.which("vllm-patchkit") is None:
        pytest.skip("vllm-patchkit is not installed; make .venv/.ready does it")
    reader = Reader(tmp_path_factory.mktemp("reader"))
    checkpoint, _ = COMMANDS
    done = reader.run(*reader.words(checkpoint))
    assert done.returncode == 0, done.stderr
    return reader


def test_the_page_has_the_blocks_that_are_run_here():
    assert len(PROGRAMS) == PAGE.count("```python") == 4
    assert [command.split()[1] for command in COMMANDS] == ["checkpoint", "serve"]
    assert QUIET == {"VLLM_CPU_OMP_THREADS_BIND": "all", "OMP_NUM_THREADS": "1"}
    assert sum(bool(shown) for _, shown in PROGRAMS) == PAGE.count("```text") == 4


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_offline_block_runs_by_itself(reader, number):
    program, shown = PROGRAMS[number]
    lines = shown.splitlines()
    assert reader.paste(program)[-len(lines) :] == lines


def test_the_client_block_runs_by_itself(reader):
    client, shown = PROGRAMS[3]
    with Serving(reader, COMMANDS[1]) as server:
        lines = reader.paste(client.replace("http://localhost:8000", server.url))
        assert "Application startup complete" in server.log.read_text()
    # BOI, "16*16", IMG, and 16 rows of 16 visual tokens that end with EOL or EOI.
    assert lines == [f"{1 + 5 + 1 + 16 * 17} tokens, from 151852 to 151853"] == shown.splitlines()
