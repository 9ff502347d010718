"""A real `vllm serve` process."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from checkpoint import Checkpoint

START_TIMEOUT_S = 600
# An answer of a busy server may take long, and a server that hangs is found all the same.
ANSWER_S = 60


def free_port() -> int:
    """A port that nobody listens on. It is none of those that the kernel hands out, which another
    program may get before the server, half a minute later, listens on it.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_768), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("100 of 100 ports are in use")


class Server:
    """`vllm serve CHECKPOINT` on a free port of this machine, for use in a `with` block."""

    def __init__(self, checkpoint: Checkpoint, log: Path, *arguments: str, **environment: str):
        self.port, self.log = free_port(), log
        # Several processes share this machine, so each waits idly when it has nothing to do.
        defaults = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "VLLM_SLEEP_WHEN_IDLE": "1"}
        command = [
            sys.executable,
            "-m",
            "vllm.entrypoints.cli.main",
            "serve",
            str(checkpoint.path),
            "--port",
            str(self.port),
            "--host",
            "127.0.0.1",
            "--dtype",
            "float32",
            "--max-model-len",
            "512",
            "--block-size",
            "16",
            "--enforce-eager",
            *arguments,
        ]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=os.environ | defaults | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=ANSWER_S) as response:
            return str(response.read().decode())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a Prometheus metric over all engines."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith(f"{name}{{")]
        wanted = [
            line
            for line in lines
            if all(f'{key}="{value}"' in line for key, value in labels.items())
        ]
        return sum(float(line.rsplit(" ", 1)[1]) for line in wanted)

    def wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self.get("/health")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
            else:
                return
        raise RuntimeError(f"The server did not start:\n{self.log.read_text()[-4000:]}")

    def __enter__(self) -> Server:
        self.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
