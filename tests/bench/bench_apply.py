"""``verify`` and ``apply`` on an installed vLLM, as whole processes, beside the usual script.

The usual script imports vllm to learn its version and runs ``patch`` for each patch. It needs an
interpreter that can import vllm: ``VLLM_PYTHON`` names it. Without one, those rows are left out,
and a line on stderr says so.

The script runs once, right after an install, and uv leaves no bytecode: that import compiles all of
torch and vLLM. The goal is for this. A second row gives the import with all bytecode in place.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from timing import Row, Sample, run, take_turns

from vllm_patchkit.stack.read import find_stack, read_stack
from vllm_patchkit.wheel.fetch import fetch_input
from vllm_patchkit.wheel.pins import find_pin

TURNS = 9
PEER_TURNS = 3
LIMIT_S = 0.35
VERSION_LIMIT_S = 0.15
TIMES_FASTER = 30.0
TIMES_FASTER_COMPILED = 15.0
TOOL = (sys.executable, "-m", "vllm_patchkit")


def measure(work: Path, stack_name: str) -> Iterator[Row]:
    """Yield the rows of this benchmark; ``work`` is an empty folder on the disk to measure."""
    folder = find_stack(stack_name)
    stack = read_stack(folder)
    entry = find_pin(stack.base)
    assert entry is not None
    site = _install(fetch_input(entry.name), work / "site-packages")
    patches = [folder / patch.name for patch in stack.patches]
    names = ("verify", "apply", "revert")
    verify, apply, revert = ((*TOOL, name, site, "--stack", folder) for name in names)

    def prepared(command: tuple[object, ...]) -> Callable[[], Sample]:
        def timed() -> Sample:
            subprocess.run([str(word) for word in revert], check=True, capture_output=True)
            return run([str(word) for word in command])

        return timed

    def start() -> Sample:
        return run([*TOOL, "--version"])

    looked, applied = take_turns(prepared(verify), prepared(apply), TURNS)
    started, _ = take_turns(start, start, TURNS)
    count = f"{len(patches)} patches"
    yield _limit("--version", started, VERSION_LIMIT_S)
    yield _limit(f"verify, {count}", looked, LIMIT_S)
    yield _limit(f"apply, {count}", applied, LIMIT_S)
    python = os.environ.get("VLLM_PYTHON")
    if python is None:
        print("apply beside the usual script: skipped, VLLM_PYTHON is not set", file=sys.stderr)
        return

    def usual(*options: object) -> Sample:
        subprocess.run([str(word) for word in revert], check=True, capture_output=True)
        try:
            return run(
                [python, *options, "-c", "import vllm; print(vllm.__version__)"],
                *(["patch", "-p1", "--quiet", "-d", site, "-i", patch] for patch in patches),
            )
        finally:
            for patch in reversed(patches):
                subprocess.run(
                    ["patch", "-p1", "-R", "--quiet", "-d", site, "-i", patch], check=True
                )

    def usual_once() -> Sample:
        with tempfile.TemporaryDirectory(dir=work) as empty:
            return usual("-X", f"pycache_prefix={empty}")

    for script, when, goal in (
        (usual_once, "first time", TIMES_FASTER),
        (usual, "again", TIMES_FASTER_COMPILED),
    ):
        ours, peer = take_turns(prepared(apply), script, PEER_TURNS)
        yield Row(
            name=f"apply, {count}",
            ours=f"{ours.seconds:.2f} s",
            peer=f"import vllm, {when}, and patch for each: {peer.seconds:.1f} s",
            ratio=peer.seconds / ours.seconds,
            kind="at_least",
            goal=goal,
        )


def _limit(name: str, sample: Sample, limit_s: float) -> Row:
    return Row(
        name=name,
        ours=f"{sample.seconds:.3f} s",
        peer=f"limit: {limit_s:.2f} s",
        ratio=sample.seconds / limit_s,
        kind="at_most",
        goal=1.0,
    )


def _install(wheel: Path, site: Path) -> Path:
    """Unpack a wheel as an installer does; libraries, which no patch touches, are left out."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith(".so")]
        archive.extractall(site, members=names)
    return site
