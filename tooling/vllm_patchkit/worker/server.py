"""``vllm serve`` in a process of its own: started, waited for, and ended by a signal."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import events
from .job import Job
from .machine import require_port

if TYPE_CHECKING:
    from openai import OpenAI

MODEL = "smoke"
STOP_S = 10.0
# Linux hands out those from 32768 on.
OWN_PORTS = range(20_000, 32_768)


@contextmanager
def serve(job: Job, stage: str, arguments: Mapping[str, Any]) -> Iterator[OpenAI]:
    """Give a client of a server that is healthy; on leaving, check that SIGTERM ends it.

    :param arguments: of ``LLM``; they are handed over as options.
    :raises EnvironmentProblem: the port is in use.
    """
    port = job.port or free_port()
    require_port(port)
    started = time.monotonic()
    events.note(stage, f"starting vllm serve on port {port}")
    process = start(serve_words(arguments, port))
    wait_until_healthy(process, port, job.deadline_s)
    events.send("load", stage=stage, seconds=round(time.monotonic() - started, 2))
    from openai import OpenAI

    yield OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    check_stop(process, port, stage)


def free_port() -> int:
    """Return a port that nobody listens on.

    It is none of those that the kernel hands out, if there is another: another program may get one
    before the server, half a minute later, listens on it, or when the server has ended.
    """
    with socket.socket() as probe:
        for port in (*random.SystemRandom().sample(OWN_PORTS, 100), 0):
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                break
        return int(probe.getsockname()[1])


def serve_words(arguments: Mapping[str, Any], port: int) -> list[str]:
    """Return the command line of ``vllm serve`` for the arguments of ``LLM``."""
    named = dict(arguments)
    words = ["serve", str(named.pop("model")), "--served-model-name", MODEL]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    for name, value in named.items():
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    return words


def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the server; its log joins this stage's."""
    command = [sys.executable, "-m", f"{__package__}.serve", *words]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def wait_until_healthy(process: subprocess.Popen[bytes], port: int, patience_s: float) -> None:
    """Return once ``/health`` answers.

    :raises RuntimeError: the server ended, or did not answer in time.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"vllm serve ended with status {process.returncode} while starting")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"vllm serve was not healthy within {patience_s:.0f} s")


def stop_limit_s() -> float:
    """Return how long the server may take to end: the longer, the more processes share a core."""
    return STOP_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def check_stop(process: subprocess.Popen[bytes], port: int, stage: str) -> None:
    """SIGTERM ends the server in time, and the port is free again."""
    limit_s = stop_limit_s()
    started = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    try:
        process.wait(limit_s)
        problem = ""
    except subprocess.TimeoutExpired:
        problem = f"still running {limit_s:.0f} s after SIGTERM"
    seconds = time.monotonic() - started
    if not problem:
        try:
            require_port(port)
        except events.EnvironmentProblem as error:
            problem = error.message
    detail = problem or f"{seconds:.1f} s"
    events.check(stage, "vllm serve ends on SIGTERM and frees its port", not problem, detail)
