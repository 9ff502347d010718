"""A run in the target's interpreter, as a stream of events.

The worker's code travels through standard input, so that a container needs no mount and nothing has
to be installed. The end of standard input tells the worker that nobody listens any more: it then
ends its processes and removes its files, even where this process was killed.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vllm_patchkit.errors import HostError
from vllm_patchkit.host.shipped import PACKAGE
from vllm_patchkit.launch.subject import Event, Subject
from vllm_patchkit.stack.read import list_stacks, read_files, read_metadata

WORKER = PACKAGE / "worker"
PATIENCE_S = 20.0
ADVICE = re.compile(r"(?i)(?:run|see|try|usage)\b.*--help")
# What Docker and Podman say of --gpus where nothing serves it.
NO_GPU_RUNTIME = re.compile(r"could not select device driver|nvidia-container")
GPU_HINT = (
    "this container engine has no GPU runtime: install the NVIDIA Container Toolkit, or leave the "
    "GPU out: --checks-only needs none"
)
STDERR_TAIL_BYTES = 4000

# Runs with `python -c`: takes one line of JSON from standard input, unpacks the worker beside other
# temporary files and becomes the guardian, which removes them.
# The folder that it is started in goes off the path first: a file json.py there is not Python's.
BOOTSTRAP = """
import sys
sys.path.pop(0)
import base64, io, json, os, pathlib, tempfile, zipfile
line = b""
while not line.endswith(b"\\n"):
    data = os.read(0, 65536)
    if not data:
        sys.exit(130)
    line += data
order = json.loads(line)
code = pathlib.Path(tempfile.mkdtemp(prefix="vllm-patchkit-"))
sys.dont_write_bytecode = True
zipfile.ZipFile(io.BytesIO(base64.b64decode(order["code"]))).extractall(code)
sys.path.insert(0, str(code))
from patchkit_worker import guardian
sys.exit(guardian.start(order["job"], code))
"""


Packages = Mapping[str, Mapping[str, bytes]]
"""Stack -> the files of its own scenarios, for artifacts that do not bring them along."""


def find_packages(named: Path | None = None) -> Packages:
    """Return the packages of the stack in the folder ``named``, else of those that come along.

    :raises StackError: a stack is malformed, or the package that it names is not there.
    """
    packages: dict[str, dict[str, bytes]] = {}
    for folder in list_stacks() if named is None else [named]:
        files = read_files(folder).own
        name = read_metadata(folder).name
        packages[name] = {path.partition("/")[2]: data for path, data in files.items()}
    return {name: files for name, files in packages.items() if files}


def pack_worker(packages: Packages, beside: Mapping[str, bytes]) -> bytes:
    """Return a zip with the package ``patchkit_worker``, and what is sent of the stacks' own.

    :param beside: further files, by path.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(WORKER.rglob("*.py")):
            name = path.relative_to(WORKER).as_posix()
            archive.writestr(f"patchkit_worker/{name}", path.read_bytes())
        for stack, files in packages.items():
            for name, data in files.items():
                archive.writestr(f"patchkit_sent/{stack}/{name}", data)
        for name, data in beside.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@contextmanager
def listen(
    subject: Subject,
    job: Mapping[str, Any],
    packages: Packages | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Iterator[Iterator[Event]]:
    """Start the worker and give its events; on leaving, see that it has ended.

    :param packages: what is sent along; none by default.
    :param beside: files that lie beside the worker's package, by path.
    :raises HostError: the interpreter (or the container engine) cannot be started.
    """
    order = {
        "code": base64.b64encode(pack_worker(packages or {}, beside or {})).decode("ascii"),
        "job": dict(job),
    }
    process = _start(subject)
    scratch: list[str] = []
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        yield _events(process, subject, scratch)
    finally:
        _end(process)
        if subject.local:
            # Only where the guardian itself was killed is there anything left.
            for path in scratch:
                shutil.rmtree(path, ignore_errors=True)


def _start(subject: Subject) -> subprocess.Popen[bytes]:
    argv = [*subject.argv, BOOTSTRAP]
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={key: text for key, text in os.environ.items() if not key.startswith("PYTHON")},
            # Ctrl-C is for this process, which then ends the worker in order.
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(
            f"{argv[0]} cannot be started: {error.strerror}",
            hint="name an interpreter with --python, or install the container engine's client",
        ) from error


def _events(
    process: subprocess.Popen[bytes], subject: Subject, scratch: list[str]
) -> Iterator[Event]:
    assert process.stdout is not None
    assert process.stderr is not None
    tail: list[bytes] = []
    reader = threading.Thread(target=_keep_tail, args=(process.stderr, tail), daemon=True)
    reader.start()
    seen = False
    for line in process.stdout:
        event: Event = json.loads(line)
        seen = True
        if event["event"] == "scratch":
            scratch += event["paths"]
        else:
            yield event
    status = process.wait()
    reader.join(1.0)
    if not seen:
        text = b"".join(tail).decode("utf-8", "replace")
        reason = find_reason(text) or "no message"
        raise HostError(
            f"the worker did not start in {subject.location} (status {status}): {reason}",
            hint=GPU_HINT if NO_GPU_RUNTIME.search(text) else subject.start_hint,
        )
    if status not in (0, 1):
        yield {
            "event": "stage",
            "stage": "guardian",
            "state": "failed",
            "seconds": 0,
            "kind": "failed",
            "message": f"the worker ended with status {status}",
            "hint": "",
            "log": b"".join(tail).decode("utf-8", "replace"),
        }


def find_reason(text: str) -> str | None:
    """Return the last line of a program's errors that is no advice to read its help."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not ADVICE.match(line)]
    return next(reversed(telling or lines), None)


def _keep_tail(stream: IO[bytes], tail: list[bytes]) -> None:
    for line in stream:
        tail.append(line)
        while sum(map(len, tail)) > STDERR_TAIL_BYTES and len(tail) > 1:
            del tail[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the worker's input, wait for it to clean up, and kill it where it does not."""
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
