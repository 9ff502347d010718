"""The process that the host starts: runs the stages one by one, and leaves nothing behind.

It owns the scratch folder. Whatever ends the run (the last stage, the deadline, a signal, the
host's death, seen as the end of standard input) it kills every process below it and removes the
folder. In a container it does the same, which is why cleaning is not the host's job.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from . import lifeline
from .diagnose import diagnose
from .events import CHANNEL
from .job import Job
from .plan import read_plan

LOG_TAIL_BYTES = 12000
POLL_S = 0.2
# Of sockaddr_un, the closing NUL left out; and of the names (UUIDs) that vLLM gives its sockets.
SOCKET_PATH_BYTES = 107
SOCKET_NAME_BYTES = 40


class Stopped(BaseException):
    """A signal asked the guardian to end."""


class HostGone(BaseException):
    """Nobody is left to report to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    """The temporary folders of a run: its own, the worker's code, and sockets."""

    scratch: Path
    code: Path
    sockets: Path

    def remove(self) -> None:
        """Remove them all."""
        for folder in (self.scratch, self.code, self.sockets):
            shutil.rmtree(folder, ignore_errors=True)


def make_folders(code: Path) -> Folders:
    """Make a run's folders in the temporary folder; sockets elsewhere if that has a long name."""
    scratch = Path(tempfile.gettempdir()) / f"{code.name}-run"
    scratch.mkdir(mode=0o700)
    (scratch / "tmp").mkdir()
    sockets = scratch / "tmp"
    if len(os.fsencode(sockets)) + SOCKET_NAME_BYTES > SOCKET_PATH_BYTES:
        sockets = Path(tempfile.mkdtemp(prefix="vpk-", dir="/tmp"))
    return Folders(scratch=scratch, code=code, sockets=sockets)


def main(folders: Folders, value: dict[str, Any]) -> int:
    """Run the job; return 0 if every stage came to its end, whatever it found."""
    lifeline.die_with_parent(signal.SIGTERM)
    lifeline.adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        return _run_stages(Job.from_json(value, folders.scratch), folders, value)
    except (Stopped, HostGone):
        return 130
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        lifeline.kill_descendants()
        folders.remove()


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _run_stages(job: Job, folders: Folders, value: dict[str, Any]) -> int:
    paths = [str(path) for path in (folders.scratch, folders.code, folders.sockets)]
    _send({"event": "scratch", "paths": paths})
    (job.scratch / "job.json").write_text(json.dumps(value), encoding="utf-8")
    deadline = time.monotonic() + job.deadline_s
    for name in job.stages:
        if not _run_stage(name, job, folders, deadline):
            return 1
    plan = read_plan(job.scratch)
    for name in plan["stages"]:
        if not _run_stage(name, job, folders, deadline) and name in plan["required"]:
            return 1
    return 0


def make_environment(job: Job, folders: Folders) -> dict[str, str]:
    """Return the environment of the stages: the caller's, less what might shadow vllm."""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {
        "PYTHONPATH": str(folders.code),
        "PYTHONUNBUFFERED": "1",
        # Sockets, compiled kernels and whatever else: under a folder that goes with the run.
        "TMPDIR": str(job.scratch / "tmp"),
        "VLLM_RPC_BASE_PATH": str(folders.sockets),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Triton multiplies float32 in TF32 otherwise, which experts are three digits off by.
        "TRITON_F32_DEFAULT": "ieee",
    }
    if job.device == "cpu":
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        if job.tensor_parallel_size > 1:
            # By default each rank wants a NUMA node of its own.
            cores = "|".join(["all"] * job.tensor_parallel_size)
            environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores)
    home = environment.get("HOME", "")
    if not (home and os.access(home, os.W_OK)):
        environment["HOME"] = str(job.scratch / "tmp")
    return environment


def _run_stage(name: str, job: Job, folders: Folders, deadline: float) -> bool:
    """Run one stage in a process group of its own; return whether it came to its end."""
    started = time.monotonic()
    _send({"event": "stage", "stage": name, "state": "started"})
    log = job.scratch / f"{name}.log"
    reader, writer = os.pipe()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "patchkit_worker.stage", name, str(job.scratch)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=job.scratch / "tmp",
            env={**make_environment(job, folders), CHANNEL: str(writer)},
            pass_fds=(writer,),
            start_new_session=True,
        )
    os.close(writer)
    try:
        status = _forward(process, reader, deadline)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        lifeline.kill_descendants()
    seconds = round(time.monotonic() - started, 2)
    fields: dict[str, Any] = {"event": "stage", "stage": name, "seconds": seconds}
    if status == 0:
        _send({**fields, "state": "ended"})
        return True
    text = log.read_bytes()[-200_000:].decode("utf-8", "replace")
    problem = diagnose(text, status)
    _send({**fields, "state": "failed", **problem, "log": text[-LOG_TAIL_BYTES:]})
    return False


def _forward(process: subprocess.Popen[bytes], reader: int, deadline: float) -> int | None:
    """Pass events on until the stage ends; return its status, or None past the deadline."""
    pending = b""
    ended = False
    while True:
        readable, _, _ = select.select([reader, 0], [], [], 0 if ended else POLL_S)
        if 0 in readable and not os.read(0, 4096):
            raise HostGone
        data = os.read(reader, 1 << 16) if reader in readable else b""
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            _write(line + b"\n")
        if ended and not data:
            return process.returncode
        ended = process.poll() is not None
        if not ended and time.monotonic() > deadline:
            return None


def _send(event: dict[str, Any]) -> None:
    _write(json.dumps(event).encode() + b"\n")


def _write(line: bytes) -> None:
    try:
        while line:
            line = line[os.write(1, line) :]
    except BrokenPipeError:
        raise HostGone from None


def start(value: dict[str, Any], code: Path) -> int:
    """Run from the bootstrap: ``code`` is the folder that holds this package."""
    return main(make_folders(code), value)
