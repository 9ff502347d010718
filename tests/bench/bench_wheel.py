"""``wheel`` on the real release: beside a copy and a hash, and beside unpack, patch and pack."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from timing import Row, Sample, run, take_turns

from vllm_patchkit.stack.read import find_stack, read_stack
from vllm_patchkit.wheel.fetch import fetch_input
from vllm_patchkit.wheel.pins import find_pin

TURNS = 5
MEMORY_LIMIT = 128 << 20


def measure(work: Path, stack_name: str) -> Iterator[Row]:
    """Yield the rows of this benchmark; ``work`` is an empty folder on the disk to measure."""
    folder = find_stack(stack_name)
    stack = read_stack(folder)
    base = fetch_input(find_pin(stack.base).name)
    out = work / "out"

    def build() -> Sample:
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "vllm_patchkit", "wheel", "--quiet"]
        return run([*command, "--stack", folder, "--base", base, "--out", out])

    def copy_and_hash() -> Sample:
        (work / "copy").unlink(missing_ok=True)
        return run(["cp", base, work / "copy"], ["openssl", "sha256", base])

    ours, peer = take_turns(build, copy_and_hash, TURNS)
    yield Row(
        name=f"wheel, {base.stat().st_size / 1e6:.0f} MB",
        ours=f"{ours.seconds:.2f} s",
        peer=f"cp + openssl sha256: {peer.seconds:.2f} s",
        ratio=ours.seconds / peer.seconds,
        kind="at_most",
        goal=1.5,
    )
    yield Row(
        name="wheel, peak memory",
        ours=f"{ours.peak_bytes / 2**20:.0f} MiB",
        peer=f"limit: {MEMORY_LIMIT >> 20} MiB",
        ratio=ours.peak_bytes / MEMORY_LIMIT,
        kind="at_most",
        goal=1.0,
    )
    usual = _unpack_patch_pack(work, base, [folder / patch.name for patch in stack.patches])
    yield Row(
        name="wheel",
        ours=f"{ours.seconds:.2f} s",
        peer=f"wheel unpack + patch + wheel pack: {usual.seconds:.1f} s",
        ratio=usual.seconds / ours.seconds,
        kind="at_least",
        goal=25.0,
    )


def _unpack_patch_pack(work: Path, base: Path, patches: list[Path]) -> Sample:
    wheel = [sys.executable, "-m", "wheel"]
    tree = work / "-".join(base.name.split("-")[:2])
    return run(
        [*wheel, "unpack", "--dest", work, base],
        *(["patch", "-p1", "--quiet", "-d", tree, "-i", patch] for patch in patches),
        [*wheel, "pack", "--dest-dir", work, tree],
    )
