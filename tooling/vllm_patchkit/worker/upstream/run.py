"""One test file in a process of its own, within a time limit."""

from __future__ import annotations

import _socket
import errno
import functools
import ipaddress
import json
import os
import select
import socket
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from .. import lifeline
from .record import Recorder

POLL_S = 0.2
OUTPUT = "output.txt"
# Of pytest: all passed, some failed, collection failed, none collected.
COMPLETE = (0, 1, 2, 5)
Outcomes = dict[str, tuple[str, str]]


def preload() -> None:
    """Import what every test imports, once: the processes of the files are forks of this one."""
    import torch  # noqa: F401
    import transformers  # noqa: F401
    import vllm

    _ = vllm.LLM


def run_file(root: Path, file: str, supply: str | None, limit_s: float) -> dict[str, Any]:
    """Run one file and return how it ended: ``state``, ``reason``, ``seconds``, ``outcomes``.

    :param supply: a folder of packages that the environment may lack, such as pytest.
    """
    started = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_pytest(root, file, supply, writer)
    os.close(writer)
    lines, status = _listen(child, reader, started + limit_s)
    os.close(reader)
    lifeline.kill_descendants()
    state, reason = judge_end(status, root / OUTPUT)
    outcomes = collect(lines, "timeout" if status is None else "crashed")
    seconds = round(time.monotonic() - started, 1)
    return {"state": state, "reason": reason, "seconds": seconds, "outcomes": outcomes}


def judge_end(status: int | None, output: Path) -> tuple[str, str]:
    """Return how the process of a file ended, and the last that it said if that was early.

    :param status: as of ``os.waitstatus_to_exitcode``; None where the time limit ended it.
    """
    if status is None:
        return "timeout", ""
    if status in COMPLETE:
        return "ended", ""
    text = output.read_bytes()[-4000:].decode("utf-8", "replace") if output.exists() else ""
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return "crashed", f"{how}: {last[:300]}"


def collect(lines: list[bytes], interrupted: str) -> Outcomes:
    """Return test -> outcome and reason; what was begun and never ended was ``interrupted``."""
    found: Outcomes = {}
    for line in lines:
        test, outcome, reason = json.loads(line)
        found[test] = (outcome, reason)
    return {test: (interrupted, "") if how[0] == "started" else how for test, how in found.items()}


def _listen(child: int, reader: int, deadline: float) -> tuple[list[bytes], int | None]:
    """Return the complete lines that the child wrote, and its status; None past the deadline."""
    data = b""
    while True:
        readable, _, _ = select.select([reader], [], [], POLL_S)
        if readable:
            data += os.read(reader, 1 << 16)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            # A child of the child may hold the pipe open, so its end is not waited for.
            while select.select([reader], [], [], 0)[0] and (more := os.read(reader, 1 << 16)):
                data += more
            lines = data.split(b"\n")[:-1]
            return lines, os.waitstatus_to_exitcode(status) if ended else None


def _be_pytest(root: Path, file: str, supply: str | None, handle: int) -> None:
    """Become the process that runs the file; never returns."""
    status = 3
    try:
        os.setsid()
        output = os.open(root / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(root)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(root), os.environ.get("PYTHONPATH")])
        )
        # The supply comes last: nothing of the environment's own is replaced by it.
        sys.path[:] = [str(root), *sys.path, *filter(None, [supply])]
        forbid_network()
        import pytest

        words = ["--rootdir", str(root), "-p", "no:cacheprovider", "--color=no", "-q", "-rN"]
        status = int(pytest.main([*words, file], plugins=[Recorder(handle)]))
    except BaseException as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def forbid_network() -> None:
    """Let this process, and what it forks, connect to this machine only."""
    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def resolve_here(host: Any, *words: Any, **named: Any) -> Any:
        if host is not None and not is_local(host):
            raise socket.gaierror(socket.EAI_FAIL, f"no network here: {host}")
        return resolve(host, *words, **named)

    def connect_here(self: Any, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
            raise OSError(errno.ENETUNREACH, f"no network here: {address[0]}")
        connect(self, address)

    socket.getaddrinfo = resolve_here
    socket.socket.connect = connect_here  # type: ignore[method-assign]


def is_local(host: Any) -> bool:
    """Return whether a host, as sockets take one, is this machine.

    >>> [is_local(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "pypi.org")]
    [True, True, True, True, False]
    """
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if text.lower() in ("", "localhost", socket.gethostname().lower()):
        return True
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or str(address) == own_address()


@functools.cache
def own_address() -> str:
    """Return the address that packets leave from: vLLM's processes meet there."""
    # The plain socket: the usual one only connects to this machine now.
    with closing(_socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            # A datagram socket that is connected sends nothing.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
