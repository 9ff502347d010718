"""No process of a run outlives it (Linux): death signals downwards, a reaper above.

vLLM starts engine and worker processes of its own. Whoever dies first, the kernel signals its
children; what is orphaned all the same falls to the guardian, which is their subreaper.
Source: prctl(2), PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process, and every process it forks, when its parent dies."""
    _prctl(PR_SET_PDEATHSIG, signal_number)
    # A fork clears the setting; what is spawned instead imports the stage's module and arms itself.
    os.register_at_fork(after_in_child=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    # Without prctl (another system) the process groups still go.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def kill_descendants(patience_s: float = 5.0) -> list[int]:
    """Kill every process below this one, wait for their ends, and return what is still there."""
    deadline = time.monotonic() + patience_s
    while True:
        alive = descendants(os.getpid())
        if not alive or time.monotonic() > deadline:
            return alive
        for process in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        reap()
        time.sleep(0.02)


def reap() -> None:
    """Collect the ends of children, so that no zombie counts as a process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants(process: int) -> list[int]:
    """Return the ids of all processes below ``process``, from ``/proc``; zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The second field is a name in parentheses, which may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [process]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found
