"""The stack ``emu3_5_hf``: its target is a model's folder, and transformers is the judge."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vllm_patchkit.cli import main

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "data" / "emu3_5_hf"
STACK = ROOT / "patches" / "emu3_5_hf"
PYTHON = ROOT / "build" / "env-cpu" / "bin" / "python"
# The first release without the name that the remote code imports, over the environment's own.
TRANSFORMERS_5 = ROOT / "build" / "transformers-5"
LOAD_AND_GENERATE = """
import sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
config = AutoConfig.from_pretrained(sys.argv[1], trust_remote_code=True)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
prompt = torch.tensor([[1, 2, 3]])
tokens = model.generate(prompt, max_new_tokens=5, min_new_tokens=5, do_sample=False)
print(type(model).__name__, tokens.shape[1])
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the stand-in, as a user has a checkpoint."""
    return shutil.copytree(STAND_IN, tmp_path / "Emu3.5-Image")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def run(command: str, *words: object) -> int:
    return main([command, "--stack", str(STACK), *map(str, words)])


def load(model: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Load and run the model with its remote code, with transformers 5 and the locked torch."""
    environment = {
        **os.environ,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(TRANSFORMERS_5),
    }
    return subprocess.run(
        [PYTHON, "-c", LOAD_AND_GENERATE, model],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_models_folder_is_patched_and_restored_like_any_target(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(model)
    assert run("verify", model) == 0
    assert "emu3_5_hf: pristine" in capsys.readouterr().out
    assert run("apply", model) == 0
    changed = {name for name, data in contents(model).items() if before.get(name) != data}
    assert {name for name in changed if not name.startswith(".vllm-patchkit/")} == {
        "modeling_emu3.py"
    }
    assert b"is_torch_fx_available" not in (model / "modeling_emu3.py").read_bytes()
    assert run("revert", model) == 0
    assert contents(model) == before


def test_gnu_patch_makes_the_same_file(model: Path, tmp_path: Path) -> None:
    if shutil.which("patch") is None:
        pytest.skip("GNU patch is not installed")
    peer = shutil.copytree(STAND_IN, tmp_path / "peer")
    for patch in sorted(STACK.glob("*.patch")):
        subprocess.run(["patch", "-p1", "--fuzz=0", "--silent", "-i", patch], cwd=peer, check=True)
    assert run("apply", model) == 0
    assert (model / "modeling_emu3.py").read_bytes() == (peer / "modeling_emu3.py").read_bytes()


def test_other_remote_code_is_left_alone(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = model / "modeling_emu3.py"
    code.write_text("# a published file, which the patch was not cut from\n" + code.read_text())
    before = contents(model)
    assert run("apply", model) == 1
    assert "modeling_emu3.py" in "".join(capsys.readouterr())
    assert contents(model) == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not (PYTHON.exists() and (TRANSFORMERS_5 / ".ready").exists()),
    reason="build/env-cpu or build/transformers-5 is missing: make integration",
)
def test_transformers_5_loads_and_generates_with_the_patch_and_not_without(
    model: Path, tmp_path: Path
) -> None:
    refused = load(model, tmp_path / "before")
    assert refused.returncode != 0
    assert "cannot import name 'is_torch_fx_available'" in refused.stderr
    assert run("apply", model) == 0
    loaded = load(model, tmp_path / "after")
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.split() == ["Emu3ForCausalLM", "8"]
