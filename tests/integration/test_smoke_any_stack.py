"""Somebody's diffs, from a folder to a proved wheel: nothing here knows what they are for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("SMOKE_TEST_PYTHON", ROOT / "build/env-cpu/bin/python"))
UV = Path(sys.executable).parent / "uv"
PATIENCE_S = 3600

pytestmark = [
    pytest.mark.slow(seconds=540),
    pytest.mark.network,
    pytest.mark.timeout(PATIENCE_S),
    pytest.mark.skipif(not PYTHON.exists(), reason="build/env-cpu is missing: run make env-cpu"),
]


def tool(*words):
    if words[0] == "smoke":
        words += ("--timeout", PATIENCE_S)
    command = [sys.executable, "-m", "vllm_patchkit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def example() -> str:
    """Return the scenario that docs/smoke.md shows."""
    page = (ROOT / "docs/smoke.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"(?s)```python\n(.*?PROOF = Proof.*?)```", page)
    return code


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The imported stack, with the page's example as its own scenario."""
    place = tmp_path_factory.mktemp("patches")
    words = ["--base", "vllm==0.11.0", "--name", "slow_steps", "--python-only"]
    done = tool("import", ROOT / "tests/data/slow_steps", *words, "--into", place)
    assert done.returncode == 0, done.stderr
    folder = place / "slow_steps"
    metadata = (folder / "stack.toml").read_text(encoding="utf-8")
    table = '[smoke]\npackage = "proof"\narchitectures = ["Qwen3ForCausalLM"]\n\n'
    (folder / "stack.toml").write_text(metadata.replace("[[probe]]", f"{table}[[probe]]", 1))
    (folder / "proof").mkdir()
    (folder / "proof/proof.py").write_text(example(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def python(stack, tmp_path_factory):
    """An environment with the wheel that the stack gives."""
    out = tmp_path_factory.mktemp("env")
    version = subprocess.run(
        [PYTHON, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    words = ["--flavor", "cpu", "--python-tag", version, "--out", out]
    done = tool("wheel", "--stack", stack, *words)
    assert done.returncode == 0, done.stderr
    place, wheel = out / "venv", next(out.glob("*.whl"))
    lock = ROOT / "wheels/requirements-cpu.lock"
    interpreter = PYTHON.resolve()
    for command in (
        ["venv", "--quiet", "--python", interpreter, place],
        ["pip", "install", "--quiet", "--python", place, "--require-hashes", "-r", lock],
        ["pip", "install", "--quiet", "--python", place, "--no-deps", wheel],
    ):
        subprocess.run([UV, *command], check=True, capture_output=True)
    wheel.unlink()
    return place / "bin/python"


def test_an_imported_stack_is_proved_and_breaks_nothing(python):
    """Green without a checkout; own scenario, probes and comparison with the release included."""
    done = tool("smoke", "--python", python, "--against", "base", "--json")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = json.loads(done.stdout)
    names = [scenario["name"] for scenario in report["scenarios"]]
    assert names[-1] == "slow-steps"
    assert {"qwen3/one", "qwen3/server", "qwen3/streaming"} < set(names)
    assert not report["missing"]
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["slow_steps: every patch has a probe"]["ok"]
    assert checks["slow_steps: own scenarios"]["detail"] == "1, the artifact's"
    rows = report["against"]["rows"]
    assert {row["scenario"] for row in rows} == set(names) - {"slow-steps"}
    # The release's own fault, which the stack has no part in. Whether an answer suffers from it,
    # which alone is a warning, depends on which request had to wait.
    (spared,) = [row for row in rows if row["reason"]]
    assert (spared["scenario"], spared["state"]) == ("qwen3/preemption", "not compared")
    assert "a request that resumes" in spared["reason"]
    assert {row["state"] for row in rows if row is not spared} == {"same"}
    assert all("preemption" in text for text in report["warnings"])


def test_another_environment_and_another_model(python):
    """``--against`` an environment whose stack has a part in neither model nor sampling."""
    asked = ["--architecture", "gemma", "--scenario", "gemma/batch", "--scenario", "gemma/refusals"]
    done = tool("smoke", "--python", python, "--against", PYTHON, *asked, "--json")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    against = json.loads(done.stdout)["against"]
    rows = {row["scenario"]: row for row in against["rows"]}
    assert {row["state"] for row in rows.values()} == {"same"}
    assert all(time > 0 for time in rows["gemma/batch"]["step_ms"])
    refused = {row["request"]: row for row in rows["gemma/refusals"]["refusals"]}
    assert "top_p must be in (0, 1]" in refused["top_p 1.5"]["here"]
    assert against["subject"]["location"] == str(PYTHON)


def test_what_no_model_can_be_made_of_is_refused_by_name(python):
    done = tool("smoke", "--python", python, "--architecture", "GemaForCausalLM")
    assert done.returncode == 2
    assert "--architecture GemaForCausalLM: neither vLLM nor transformers has" in done.stderr
    assert "near: GemmaForCausalLM" in done.stderr
