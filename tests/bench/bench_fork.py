"""Five hundred patches on the real release: verify and apply, refresh, rebase.

Beside ``git am`` and ``quilt push`` of the same patches, ``git format-patch`` of all of them, and
``git rebase`` with every conflict settled the patch's way, as a dry run does. The stated limits are
held against processor time: on a machine that others use, wall time measures the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from timing import Row, Sample, run, take_turns

from vllm_patchkit.wheel.fetch import fetch_input

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PATCHES = 500
TURNS = 3
APPLY_LIMIT_S = 2.0
REFRESH_LIMIT_S = 10.0
REBASE_LIMIT_S = 60.0
TOOL = (sys.executable, "-m", "vllm_patchkit")
# A file that upstream deleted stops git rebase whatever the strategy: keep the patch's, go on.
REBASE_LOOP = """
exec >/dev/null 2>&1
export GIT_EDITOR=true GIT_COMMITTER_NAME=Bench GIT_COMMITTER_EMAIL=bench@example.org
"$@"
while test -d .git/rebase-merge; do
    git add --all
    if git diff --cached --quiet; then git rebase --skip; else git rebase --continue; fi
done
true
"""
IDENTITY = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")


def measure(work: Path, stack_name: str) -> Iterator[Row]:
    """Yield the rows of this benchmark; ``work`` is an empty folder on the disk to measure."""
    os.environ["VLLM_PATCHKIT_CACHE"] = str(_private_cache(work))
    release = _unpack("vllm-0.11.0", work / "release")
    stack = _make_stack(release, work / "big")
    yield from _measure_apply(work, release, stack)
    yield from _measure_refresh(work, stack)
    yield from _measure_rebase(work, stack)


def _private_cache(work: Path) -> Path:
    """Return a cache with the wheels that are there already, and a store of its own."""
    cache = work / "cache"
    cache.mkdir()
    wheels = [fetch_input(name) for name in ("vllm-0.11.0", "vllm-0.11.1")]
    (cache / "inputs").symlink_to(wheels[0].parent)
    return cache


def _unpack(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(fetch_input(name)) as wheel:
        members = [item for item in wheel.namelist() if not item.endswith(".so")]
        wheel.extractall(folder, members)
    return folder


def _make_stack(release: Path, folder: Path) -> Path:
    from support.big_stack import write_big_stack

    paths = [
        path.relative_to(release).as_posix()
        for path in sorted((release / "vllm/v1").rglob("*.py"))
        if path.stat().st_size > 2000
    ]
    write_big_stack(folder, paths, lambda path: (release / path).read_bytes(), PATCHES)
    subprocess.run([*TOOL, "refresh", "--quiet", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def _git(folder: Path, *words: str | Path) -> None:
    subprocess.run(["git", "-C", folder, *IDENTITY, *words], check=True, capture_output=True)


def _repository(work: Path, release: Path) -> Path:
    checkout = work / "checkout"
    subprocess.run(["cp", "-r", release, checkout], check=True)
    _git(checkout, "init", "--quiet")
    _git(checkout, "add", "--all", "--force", "vllm")
    _git(checkout, "commit", "--quiet", "-m", "release")
    _git(checkout, "tag", "release")
    return checkout


def _measure_apply(work: Path, release: Path, stack: Path) -> Iterator[Row]:
    checkout = _repository(work, release)
    patches = sorted(stack.glob("*.patch"))

    def ours() -> Sample:
        subprocess.run([*TOOL, "revert", release, "--stack", stack], check=False,
                       capture_output=True)  # fmt: skip
        return run(
            [*TOOL, "verify", release, "--stack", stack],
            [*TOOL, "apply", release, "--stack", stack],
        )

    def git_am() -> Sample:
        return run(["git", "-C", checkout, *IDENTITY, "am", "--quiet", *patches])

    quilt_tree = work / "quilt"
    subprocess.run(["cp", "-r", release, quilt_tree], check=True)
    subprocess.run([*TOOL, "revert", quilt_tree], check=False, capture_output=True)

    def quilt() -> Sample:
        return run(["env", f"QUILT_PATCHES={stack}", "quilt", "push", "-a", "-q"], cwd=quilt_tree)

    mine, _ = take_turns(ours, ours, TURNS)
    # The peers take a minute each: once is enough to see which is faster.
    am, pushed = git_am(), quilt()
    yield _limit(f"verify + apply, {PATCHES} patches", mine, APPLY_LIMIT_S)
    yield _beside(f"verify + apply, {PATCHES}", mine, "git am", am)
    yield _beside(f"verify + apply, {PATCHES}", mine, "quilt push -a", pushed)


def _measure_refresh(work: Path, stack: Path) -> Iterator[Row]:
    done = subprocess.run(
        [*TOOL, "edit", "--quiet", stack], check=True, stdout=subprocess.PIPE, text=True
    )
    tree = Path(done.stdout.strip())
    middle = f"HEAD~{PATCHES // 2}"
    base = "refs/patchkit/base"
    found = subprocess.run(
        ["git", "-C", tree, "diff", "--name-only", f"{middle}^", middle],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    file = tree / found.stdout.strip()
    number = PATCHES - PATCHES // 2
    text = file.read_text()

    def change(value: int) -> None:
        _git(tree, "checkout", "--quiet", "-B", "bench", "refs/patchkit/start")
        line = next(item for item in text.splitlines() if item.startswith(f"FORK_{number}_0 "))
        file.write_text(text.replace(line, f"FORK_{number}_0 = {value}"))
        _git(tree, "commit", "--quiet", "--all", f"--fixup={middle}")
        subprocess.run(
            ["git", "-C", tree, *IDENTITY, "rebase", "--quiet", "-i", "--autosquash", base],
            check=True, capture_output=True, env={**os.environ, "GIT_SEQUENCE_EDITOR": "true"},
        )  # fmt: skip

    change(-1)
    mine = run([*TOOL, "refresh", "--quiet", stack])
    out = work / "format-patch"
    peer = run(["git", "-C", tree, "format-patch", "--quiet", "-o", out, f"{base}..HEAD"])
    yield _limit(f"refresh 1 of {PATCHES}", mine, REFRESH_LIMIT_S)
    yield Row(
        name=f"refresh 1 of {PATCHES}",
        ours=f"{mine.seconds:.2f} s",
        peer=f"git format-patch, no lock, no check: {peer.seconds:.2f} s",
        ratio=mine.seconds / peer.seconds,
        kind="at_most",
        goal=10.0,
    )


def _measure_rebase(work: Path, stack: Path) -> Iterator[Row]:
    checkout = work / "checkout"
    _git(checkout, "branch", "--force", "patched")
    _git(checkout, "checkout", "--quiet", "-B", "next", "release")
    subprocess.run(["rm", "-rf", checkout / "vllm"], check=True)
    _unpack("vllm-0.11.1", checkout)
    _git(checkout, "add", "--all", "--force", "vllm")
    _git(checkout, "commit", "--quiet", "-m", "next")
    # The first survey reads the new release into the store, which is done once for each.
    argv = [*TOOL, "rebase", "--quiet", stack, "--dry-run", "--onto", "0.11.1", "--json"]
    subprocess.run(argv, check=False, stdout=subprocess.DEVNULL)
    survey = ["sh", "-c", '"$@"; test $? -le 1', "sh", *argv]
    mine = run(survey)
    yield _limit(f"dry-run rebase, {PATCHES}", mine, REBASE_LIMIT_S)
    words = ("rebase", "--quiet", "-X", "theirs", "--onto", "next", "release", "patched")
    peer = run(["sh", "-c", REBASE_LOOP, "sh", "git", *IDENTITY, *words], cwd=checkout)
    yield Row(
        name=f"dry-run rebase, {PATCHES}",
        ours=f"{mine.seconds:.1f} s",
        peer=f"git rebase -X theirs, no verdicts: {peer.seconds:.1f} s",
        ratio=mine.seconds / peer.seconds,
        kind="at_most",
        goal=3.0,
    )


def _limit(name: str, sample: Sample, limit_s: float) -> Row:
    return Row(
        name=name,
        ours=f"{sample.cpu_seconds:.2f} s",
        peer=f"limit of processor time: {limit_s:g} s (wall: {sample.seconds:.1f} s)",
        ratio=sample.cpu_seconds / limit_s,
        kind="at_most",
        goal=1.0,
    )


def _beside(name: str, mine: Sample, peer_name: str, peer: Sample) -> Row:
    return Row(
        name=name,
        ours=f"{mine.seconds:.2f} s",
        peer=f"{peer_name}: {peer.seconds:.1f} s",
        ratio=peer.seconds / mine.seconds,
        kind="at_least",
        goal=1.0,
    )
