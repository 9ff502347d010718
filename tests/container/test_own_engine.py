"""The container engine that ``make test`` starts for itself, with a real dockerd.

A copy of the scripts is a checkout of its own, so its engine is another one than that of these
tests. No engine answers where the copy looks first.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import ROOT

NOWHERE = "unix:///nowhere/docker.sock"
STARTED_S = STOPPED_S = 180.0

pytestmark = [
    pytest.mark.container,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("dockerd"), reason="needs root and dockerd"
    ),
]


class Checkout:
    """A checkout that has the two scripts alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "ci").mkdir(parents=True)
        for name in ("engine.sh", "with-engine.sh"):
            shutil.copy2(ROOT / "ci" / name, root / "ci" / name)
        self.environment = {**os.environ, "DOCKER_HOST": NOWHERE}
        sum_of_path = subprocess.run(["cksum"], input=str(root), capture_output=True, text=True)
        self.run = Path(f"/run/vllm-patchkit-{sum_of_path.stdout.split()[0]}")

    def start(self, script: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``with-engine.sh`` around a shell script, in a process group of its own."""
        return subprocess.Popen(
            ["ci/with-engine.sh", "sh", "-c", script],
            cwd=self.root, env={**self.environment, **environment}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
            # A shell's background job, as CI may be, hands down an ignored SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    def dockerds(self) -> list[int]:
        """Return the processes of this checkout's engine."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue
            program = words.partition(b"\0")[0].rpartition(b"/")[2]
            if program in (b"dockerd", b"containerd") and os.fsencode(self.run) in words:
                found.append(int(path.parent.name))
        return found

    def left(self) -> list[str]:
        """Return what is left of the engine: processes, sockets, data."""
        places = (self.run, self.root / "build" / "engine")
        return [*map(str, self.dockerds()), *(str(place) for place in places if place.exists())]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path / "checkout")
    yield checkout
    subprocess.run([checkout.root / "ci" / "engine.sh", "stop"], check=False)


def is_so(condition: object, timeout_s: float) -> bool:
    """Wait until a function without arguments is true."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and not condition():
        time.sleep(0.1)
    return bool(condition())


def test_it_is_started_used_and_stopped(checkout: Checkout) -> None:
    """The command sees the checkout's engine; its status is kept, and nothing is left."""
    done = checkout.start("docker info --format '{{.DockerRootDir}}'; exit 7")
    out, err = done.communicate()
    assert done.returncode == 7, err
    assert out == f"{checkout.root}/build/engine/data\n"
    assert checkout.left() == []
    started, stopped = err.splitlines()
    assert started == f"started dockerd: export DOCKER_HOST=unix://{checkout.run}/docker.sock"
    assert stopped == "stopped dockerd"


def test_one_that_runs_is_used_and_left_alone(checkout: Checkout, tmp_path: Path) -> None:
    first = checkout.start("echo up; read line")
    assert first.stdout is not None
    assert first.stdout.readline() == "up\n"
    other = Checkout(tmp_path / "other")
    host = f"unix://{checkout.run}/docker.sock"
    second = other.start("docker info --format '{{.DockerRootDir}}'", DOCKER_HOST=host)
    out, err = second.communicate()
    assert (second.returncode, out, err) == (0, f"{checkout.root}/build/engine/data\n", "")
    assert checkout.dockerds() != []
    assert other.left() == []
    first.communicate()


def test_it_can_be_refused(checkout: Checkout) -> None:
    done = checkout.start("docker version >/dev/null 2>&1 || echo none", ENGINE="no")
    out, err = done.communicate()
    assert (done.returncode, out) == (0, "none\n")
    expected = "no container engine is started (ENGINE=no): the container tests will be skipped\n"
    assert err == expected
    assert checkout.left() == []


def interrupt(running: subprocess.Popen[str]) -> None:
    """As a terminal does for Ctrl-C: every process of the group."""
    os.killpg(running.pid, signal.SIGINT)


def kill_script(running: subprocess.Popen[str]) -> None:
    """kill -9 of the script alone; its command goes on, and ends in its own time."""
    running.kill()


def kill_all(running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [interrupt, kill_script, kill_all])
def test_nothing_is_left_however_it_ends(checkout: Checkout, end: object) -> None:
    assert callable(end)
    # Its input ends with the block: nobody gets as far as the engine before.
    script = "echo up; read line; sleep 5; docker info --format '{{.ID}}' > used"
    with checkout.start(script) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        end(running)
        assert running.wait(STOPPED_S) != 0
    assert is_so(lambda: checkout.left() == [], STOPPED_S), checkout.left()
    used = checkout.root / "used"
    # Who lives on keeps the engine until it has ended.
    assert (used.exists() and used.read_text() != "") == (end is kill_script)


def test_an_interruption_while_it_starts_leaves_nothing(checkout: Checkout) -> None:
    running = checkout.start("echo never")
    assert is_so(lambda: checkout.dockerds() != [], STARTED_S)
    interrupt(running)
    out, _ = running.communicate()
    assert "never" not in out
    assert is_so(lambda: checkout.left() == [], STOPPED_S), checkout.left()


def test_a_second_stop_and_a_dockerd_that_was_killed(checkout: Checkout) -> None:
    """``engine.sh stop`` after kill -9 of dockerd takes its containerd and folders away."""
    script = checkout.root / "ci" / "engine.sh"
    subprocess.run([script, "start"], env=checkout.environment, check=True)
    os.kill(int((checkout.run / "own").read_text()), signal.SIGKILL)
    for _ in range(2):
        subprocess.run([script, "stop"], env=checkout.environment, check=True)
        assert checkout.left() == []
