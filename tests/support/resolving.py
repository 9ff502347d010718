"""Somebody who resolves every conflict of a rebase, and counts them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PLACE = re.compile(
    r"^<<<<<<< [^\n]*\n(?P<upstream>.*?)^\|{7} .*?^=======\n(?P<patch>.*?)^>>>>>>> [^\n]*\n",
    re.S | re.M,
)


@dataclass(frozen=True)
class Effort:
    """What a rebase asked of its maintainer: how often it stopped, in how many places."""

    stops: int
    places: int


def rebase(
    stack: Path, onto: str, work: Path, env: Mapping[str, str], *words: str | Path
) -> Effort:
    """Rebase a stack, with every place settled by a rule, and return what that took.

    The rule: the patch's side; upstream's where a file does not compile with the patch's.

    :param work: where the work tree is put.
    """
    stops = places = 0
    done = _tool([stack, "--onto", onto, "--dir", work, *words], env)
    while done.returncode:
        assert done.returncode == 1, done.stdout + done.stderr
        unmerged = _git(work, "diff", "--name-only", "--diff-filter=U").splitlines()
        assert unmerged, done.stdout + done.stderr
        stops += 1
        places += sum(_resolve(work, path) for path in unmerged)
        done = _tool([stack, "--continue"], env)
    return Effort(stops, places)


def _tool(words: Sequence[str | Path], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "vllm_patchkit", "rebase", *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def _git(work: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", work, *words], check=True, capture_output=True, text=True
    ).stdout


def _resolve(work: Path, path: str) -> int:
    """Settle one file, and return how many places it had."""
    file = work / path
    if not file.is_file():
        _git(work, "rm", "--quiet", "--", path)
        return 1
    text = file.read_text(encoding="utf-8")
    count = len(PLACE.findall(text))
    sides = (
        PLACE.sub(lambda place, side=side: place[side], text) for side in ("patch", "upstream")
    )
    settled = next((side for side in sides if _compiles(side, path)), None)
    assert settled is not None, path
    file.write_text(settled, encoding="utf-8")
    _git(work, "add", "--", path)
    return max(count, 1)


def _compiles(text: str, path: str) -> bool:
    if not path.endswith(".py"):
        return True
    try:
        compile(text, path, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
