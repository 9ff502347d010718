"""The Makefile as a whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TARGETS = re.findall(r"(?m)^([a-z][a-z-]*):", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize("target", TARGETS)
def test_make_n_changes_nothing(target: str, tmp_path: Path) -> None:
    """Not even by a script of ``ci``, each of which would leave a file here."""
    place = tmp_path / "checkout"
    # Other tests import what is in ci, and Python writes bytecode under names that go at once.
    ignore = shutil.ignore_patterns("__pycache__", "out")
    shutil.copytree(ROOT / "ci", place / "ci", ignore=ignore)
    shutil.copytree(ROOT / "wheels", place / "wheels", ignore=ignore)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, place / name)
    for script in place.glob("ci/*.sh"):
        script.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran-$(basename $0)\nexec "$@"\n')
    shutil.copy2(ROOT / "ci" / "find-python.sh", place / "ci")
    before = sorted(place.rglob("*"))
    done = subprocess.run(
        ["make", "-n", target],
        cwd=place,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert sorted(place.rglob("*")) == before
    assert [one.name for one in tmp_path.iterdir()] == ["checkout"]


@pytest.mark.parametrize("target", ["smoke", "image"])
def test_a_wheel_that_is_not_there_is_said_first(target: str, tmp_path: Path) -> None:
    """8 GB were installed before."""
    words = ["make", "-n", "-C", str(ROOT), target]
    done = subprocess.run([*words, "WHEEL=no such.whl"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "WHEEL=no such.whl: no such file" in done.stderr
    there = tmp_path / "a wheel.whl"
    there.touch()
    done = subprocess.run([*words, f"WHEEL={there}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_targets_are_found() -> None:
    assert {"test", "image", "smoke-image", "build-wheel", "clean"} <= set(TARGETS)
