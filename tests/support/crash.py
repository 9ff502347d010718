"""Killing a transaction at any of its steps, and looking at what recovery makes of it.

``Disk.fault`` is called before every system call that changes the disk. A forked child ends itself
there with ``os._exit``: no ``finally`` runs, nothing is cleaned up, as with SIGKILL.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from support.environments import (
    CHANGES,
    STEP_4,
    Environment,
    check_record,
    install,
    make_stack,
    snapshot,
)
from support.stacks import METADATA, Change
from vllm_patchkit.operations.targets import apply, revert, status
from vllm_patchkit.transaction.disk import Disk

KILLED = 113
MANY = {f"vllm/many/m{n}.py": b"N = %d\n" % n for n in range(16)}
CRASH_CHANGES = (*CHANGES, Change("Add many", {**STEP_4, **MANY}))
Snapshot = dict[str, "bytes | str"]
Act = Callable[[Environment, Path, Disk], object]


def do_apply(environment: Environment, stack: Path, disk: Disk) -> object:
    return apply(environment.prefix, stack=stack, disk=disk)


def do_revert(environment: Environment, stack: Path, disk: Disk) -> object:
    return revert(environment.prefix, stack=stack, disk=disk)


def die_at(
    step: int, act: Act, environment: Environment, stack: Path, *, only: str | None = None
) -> bool:
    """Run ``act`` in a child that dies before its ``step``-th change; return whether it did.

    :param only: count this kind of step only, such as ``rename``: the first creates the plan,
        the others put the new files in place.
    """
    child = os.fork()
    if child:
        _, code = os.waitpid(child, 0)
        assert os.WIFEXITED(code)
        assert os.WEXITSTATUS(code) in (0, KILLED), "the child failed otherwise"
        return os.WEXITSTATUS(code) == KILLED
    count = 0

    def fault(kind: str, path: Path) -> None:
        nonlocal count
        count += only in (None, kind)
        if count > step:
            os._exit(KILLED)

    try:
        act(environment, stack, Disk(fault=fault))
    except BaseException:
        os._exit(1)
    os._exit(0)


def make_crash_stack(folder: Path) -> Path:
    """Write a stack that adds, changes and deletes files and folders."""
    requires = '\n[wheel]\nrequires = ["helper<2"]\n'
    return make_stack(folder, CRASH_CHANGES, metadata=METADATA + requires)


def make_crash_environment(folder: Path) -> Environment:
    """Lay out an environment hard-linked to a cache, with bytecode."""
    made = install(folder / "env", cache=folder / "cache")
    cache = made.site / "vllm" / "__pycache__"
    cache.mkdir()
    for name in ("engine", "old"):
        (cache / f"{name}.cpython-312.pyc").write_bytes(b"stale")
    return made


def sources(found: Snapshot) -> Snapshot:
    """Everything but bytecode, which may go at any time."""
    return {path: content for path, content in found.items() if "__pycache__" not in path}


def kill_everywhere(
    before: Act,
    act: Act,
    finish: Act,
    environment: Environment,
    stack: Path,
    *,
    stride: int = 1,
) -> tuple[int, list[Snapshot]]:
    """Kill ``act`` at every ``stride``-th step; finish each time; return all end states.

    The first result is how many steps there are, at least.
    """
    ends: list[Snapshot] = []
    step = 0
    while die_at(step, act, environment, stack):
        finish(environment, stack, Disk())
        assert status(environment.prefix, stack=stack).interruption is None
        wrong = check_record(environment.site, environment.dist_info)
        assert wrong == [], f"step {step}: {wrong}"
        ends.append(sources(snapshot(environment.site)))
        before(environment, stack, Disk())
        step += stride
    return step, ends
