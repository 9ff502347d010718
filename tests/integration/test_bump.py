"""What docs/maintaining.md says of the next releases is what the tool says of them.

``PATCHKIT_MEASURE=whole`` measures every column and row, which takes minutes and two more wheels;
without it only what 0.11.1 made of each patch, and whether the page is of the stack as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.resolving import Effort, rebase
from vllm_patchkit.host.cache import cache_dir
from vllm_patchkit.stack.read import read_stack
from vllm_patchkit.wheel.fetch import fetch_input

pytestmark = [pytest.mark.network, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
STACK = ROOT / "patches" / "emu3_5"
PAGE = ROOT / "docs" / "maintaining.md"
RELEASES = ("0.11.1", "0.12.0", "0.33.0")
WHOLE = os.environ.get("PATCHKIT_MEASURE") == "whole"


def documented(part: str) -> str:
    found = re.search(rf"<!-- emu3_5 {part} -->\n(.*?)<!-- end -->", PAGE.read_text(), re.S)
    assert found is not None
    return found[1]


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("| 0")]
    assert lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment with a private store, and the wheels that are there already."""
    fetch_input("vllm-0.11.1")
    folder.mkdir()
    (folder / "inputs").symlink_to(cache_dir() / "inputs")
    return {**os.environ, "VLLM_PATCHKIT_CACHE": str(folder), "NO_COLOR": "1"}


def check_upstream(folder: Path, *releases: str) -> str:
    words = [word for release in releases for word in ("--check-upstream", release)]
    argv = [sys.executable, "-m", "vllm_patchkit", "export", "--quiet", str(STACK), *words]
    done = subprocess.run(
        argv, env=environment(folder / "cache"), capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_page_is_of_this_version_and_its_patches() -> None:
    stack = read_stack(STACK)
    assert f"\nVersion {stack.version} of `emu3_5`, measured by" in PAGE.read_text()
    named = [f"{patch.number:04d} {patch.message.subject}" for patch in stack.patches]
    assert [row[0] for row in cells(documented("upstream"))] == named


@pytest.mark.skipif(WHOLE, reason="all of the table is measured")
def test_what_the_next_release_made_of_each_patch(tmp_path: Path) -> None:
    measured = cells(check_upstream(tmp_path, RELEASES[0]))
    assert [row[:2] for row in cells(documented("upstream"))] == [row[:2] for row in measured]


@pytest.mark.skipif(not WHOLE, reason="measured with PATCHKIT_MEASURE=whole")
def test_what_the_releases_made_of_each_patch(tmp_path: Path) -> None:
    measured = check_upstream(tmp_path, *RELEASES)
    assert documented("upstream") == measured, f"put this into {PAGE.name}:\n{measured}"


@pytest.mark.skipif(not WHOLE, reason="measured with PATCHKIT_MEASURE=whole")
def test_what_is_remembered_from_one_release_to_the_next(tmp_path: Path) -> None:
    first, fresh = environment(tmp_path / "first"), environment(tmp_path / "fresh")

    def measure(env: dict[str, str], stack: Path, onto: str, into: str = "") -> Effort:
        words = ("--into", tmp_path / into) if into else ()
        return rebase(stack, onto, tmp_path / "work", env, "--normalise", *words)

    stack = tmp_path / "emu3_5"
    shutil.copytree(STACK, stack)
    rows = {
        "onto 0.11.1, nothing remembered": measure(first, stack, "0.11.1", "next"),
        "onto 0.11.1 once more": measure(first, stack, "0.11.1", "again"),
        "onto 0.12.0, nothing remembered": measure(fresh, stack, "0.12.0", "one"),
    }
    second = environment(tmp_path / "second")
    shutil.copytree(tmp_path / "first" / "git", tmp_path / "second" / "git")
    rows["onto 0.12.0, with what was resolved onto 0.11.1"] = measure(
        second, stack, "0.12.0", "two"
    )
    rows["the result for 0.11.1, then onto 0.12.0"] = measure(first, tmp_path / "next", "0.12.0")
    lines = [f"| {what} | {effort.stops} | {effort.places} |" for what, effort in rows.items()]
    measured = "\n".join(["| | stops | places |", "| --- | --- | --- |", *lines, ""])
    assert documented("remembered") == measured, f"put this into {PAGE.name}:\n{measured}"
