"""Real processes: killed by the kernel at a system call, or racing for one target."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.crash import sources
from support.crash_fixtures import environment as environment
from support.crash_fixtures import stack as stack
from support.environments import Environment, check_record, snapshot
from vllm_patchkit.operations.targets import apply, revert, status

pytestmark = pytest.mark.slow

WRITING = "mkdir,mkdirat,linkat,rename,renameat2,unlink,unlinkat,rmdir,fsync,fchmod,chmod,write"
SAMPLE = 24
KILLED_BY_SIGKILL = -9


def command(operation: str, environment: Environment, stack: Path) -> list[str]:
    words = [sys.executable, "-B", "-m", "vllm_patchkit", operation, str(environment.prefix)]
    return [*words, "--stack", str(stack)]


def count_calls(words: list[str], log: Path) -> dict[str, int]:
    """Run a command under strace; return how often it made each of the calls that write."""
    subprocess.run(
        ["strace", "-o", log, "-e", f"trace={WRITING}", *words], check=True, capture_output=True
    )
    names = re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE)
    return {name: names.count(name) for name in sorted(set(names))}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("operation", ["apply", "revert"])
def test_sigkill_at_a_system_call_is_recovered(
    environment: Environment, stack: Path, tmp_path: Path, operation: str
) -> None:
    """The kernel kills the process on entry to the n-th call of a kind, over all kinds."""
    old = sources(snapshot(environment.site))
    apply(environment.prefix, stack=stack)
    new = sources(snapshot(environment.site))
    if operation == "apply":
        revert(environment.prefix, stack=stack)
    calls = count_calls(command(operation, environment, stack), tmp_path / "log")
    points = [(name, n) for name, count in calls.items() for n in range(1, count + 1)]
    assert len(points) >= 100
    stride = max(1, len(points) // SAMPLE)
    for position, (name, n) in enumerate(points[::stride]):
        (revert if operation == "apply" else apply)(environment.prefix, stack=stack)
        inject = f"inject={name}:signal=SIGKILL:when={n}"
        argv = ["strace", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject]
        done = subprocess.run(
            [*argv, *command(operation, environment, stack)], capture_output=True, timeout=600
        )
        assert done.returncode in (KILLED_BY_SIGKILL, 128 + 9)
        status(environment.prefix, stack=stack)
        finish = apply if position % 2 else revert
        finish(environment.prefix, stack=stack)
        found = sources(snapshot(environment.site))
        assert found == (new if position % 2 else old), f"killed at {name} number {n}"
        assert check_record(environment.site, environment.dist_info) == []


def test_of_processes_that_race_one_wins_and_the_others_are_told(
    environment: Environment, stack: Path
) -> None:
    """Each ends with 0 (did it, or found it done) or with 1 and the lock's message."""
    words = command("apply", environment, stack)
    with ThreadPoolExecutor(6) as pool:
        done = list(
            pool.map(lambda _: subprocess.run(words, capture_output=True, text=True), range(6))
        )
    did = [one for one in done if one.returncode == 0 and "already" not in one.stdout]
    lost = [one for one in done if one.returncode != 0]
    assert len(did) == 1
    assert all(one.returncode == 1 for one in lost)
    assert all("another vllm-patchkit process is changing" in one.stderr for one in lost)
    assert status(environment.prefix, stack=stack).stacks[0].report.state == "applied"
    assert check_record(environment.site, environment.dist_info) == []
