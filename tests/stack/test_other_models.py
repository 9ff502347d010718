"""Models that the stack does not concern generate what they do without it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PATCHES = Path(__file__).resolve().parents[2] / "patches" / "emu3_5"
SCRIPT = Path(__file__).with_name("other_models.py")


def unpatched(folder: Path) -> Path:
    """A folder with the installed vLLM as it was before the stack: links to its files, and the
    patches reverted.
    """
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    shutil.copytree(
        package,
        folder / "vllm",
        copy_function=os.symlink,
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
    )
    patches = [PATCHES / name for name in (PATCHES / "series").read_text().split()]
    touched = {
        line.split(" b/")[1]
        for patch in patches
        for line in patch.read_text().splitlines()
        if line.startswith("diff --git ")
    }
    for name in touched:
        (folder / name).unlink()
        shutil.copy2(package.parent / name, folder / name)
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    for patch in reversed(patches):
        subprocess.run(["git", "apply", "-R", str(patch)], cwd=folder, env=environment, check=True)
    return folder


def results(folder: Path, *first: Path) -> dict[str, object]:
    """What the script prints, with `first` before everything else on the path."""
    folder.mkdir()
    python_path = [*map(str, first), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(python_path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


@pytest.mark.slow
def test_tokens_and_logprobs_are_unchanged(tmp_path):
    """Greedy, seeded and free sampling, penalties, biases, log-probabilities: equal to the last
    bit.
    """
    reverted = unpatched(tmp_path / "unpatched")

    before = results(tmp_path / "before", reverted)
    after = results(tmp_path / "after")

    assert before.pop("vllm") == str(reverted / "vllm")
    assert after.pop("vllm") != str(reverted / "vllm")
    assert not (reverted / "vllm/v1/image_grammar.py").exists()
    assert before == after
