"""Another release than the stack's own: a foreign stack on it, proved, and a fault in it found."""

import email
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from vllm_patchkit.errors import HostError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.launch.base_environment import base_environment
from vllm_patchkit.launch.subject import find_environment
from vllm_patchkit.launch.wheel_environment import find_requirements, require_fit
from vllm_patchkit.smoke import SmokeOptions, run_smoke
from vllm_patchkit.smoke.against import compare
from vllm_patchkit.worker.general.offline import SCENARIOS

RELEASE = "0.32.0"
ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / f"build/env-cpu-{RELEASE}"
PYTHON = PLACE / "bin/python"
UV = Path(sys.executable).parent / "uv"
PATIENCE_S = 3600
OFFLINE = SmokeOptions(
    architectures=("LlamaForCausalLM",),
    scenarios=tuple(f"llama/{name}" for name in SCENARIOS),
    own_scenarios=False,
    timeout_s=PATIENCE_S,
)
# Where, what it is in the release, and what it becomes.
FAULT = (
    "model_executor/layers/utils.py",
    "logits -= frequency_penalties.unsqueeze(dim=1) *",
    "logits -= 3 * frequency_penalties.unsqueeze(dim=1) *",
)

pytestmark = [
    pytest.mark.slow(seconds=310),
    pytest.mark.network,
    pytest.mark.timeout(PATIENCE_S),
    pytest.mark.skipif(not PYTHON.exists(), reason=f"run make build/{PLACE.name}/.ready"),
]


def tool(*words):
    command = [sys.executable, "-m", "vllm_patchkit", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The CPU wheel of a stack that was cut from the release."""
    place = tmp_path_factory.mktemp("stack")
    patch = ROOT / f"tests/data/step_count/{RELEASE}.patch"
    tool("import", patch, "--base", f"vllm=={RELEASE}", "--name", "step_count", "--into", place)
    words = ["--flavor", "cpu", "--out", place, "--stack", place / "step_count"]
    return Path(tool("wheel", *words).strip())


@pytest.fixture(scope="module")
def python(wheel):
    """The release's environment with the wheel in it."""
    words = ["--quiet", "--no-deps", "--reinstall-package", "vllm", "--python", PLACE, wheel]
    subprocess.run([UV, "pip", "install", *words], check=True)
    subprocess.run([UV, "pip", "check", "--quiet", "--python", PLACE], check=True)
    return PYTHON


def test_its_lock_starts_from_what_the_wheel_requires(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        message = email.message_from_bytes(archive.read(name))
    required = [text for text in message.get_all("Requires-Dist") if "extra ==" not in text]
    source = (ROOT / f"wheels/requirements-cpu-{RELEASE}.in").read_text().splitlines()
    assert [line for line in source if not line.startswith("#")] == required
    assert find_requirements(wheel.name).name == f"requirements-cpu-{RELEASE}.lock"
    require_fit(wheel, ROOT / f"wheels/requirements-cpu-{RELEASE}.lock")
    with pytest.raises(HostError, match=r"requests>=2\.33\.0 is required, 2\.32\.5 is locked"):
        require_fit(wheel, ROOT / "wheels/requirements-cpu.lock")


def test_a_stack_on_it_is_proved_and_a_wrong_number_in_its_sampler_named(python, monkeypatch):
    """Every scenario, once with the patch, once on the release with one more fault than it has."""
    # This release does not know the value that keeps 0.11.0's engines off one core.
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND")
    options = replace(OFFLINE, scenarios=(*OFFLINE.scenarios, "llama/server"))
    patched = run_smoke(find_environment(python), options, lambda event, report: None)
    assert patched.ok, (patched.problems, patched.checks, patched.scenarios)
    (check,) = [one for one in patched.checks if one["name"] == "the compiled extension loads"]
    assert check["detail"].endswith(" operators")
    with base_environment(find_environment(python), Console(quiet=True)) as base:
        (package,) = Path(base.location).glob("lib/*/site-packages/vllm")
        assert "step_count = 0" not in (package / "v1/engine/core.py").read_text(encoding="utf-8")
        path, before, after = FAULT
        text = (package / path).read_text(encoding="utf-8")
        assert text.count(before) == 1
        (package / path).unlink()
        (package / path).write_text(text.replace(before, after), encoding="utf-8")
        options = replace(OFFLINE, unpatched=True)
        wrong = run_smoke(base, options, lambda event, report: None)
    rows = {row.scenario: row for row in compare(patched, wrong, own=()).rows}
    assert rows.pop("llama/server").state == "only here"
    sampled = rows.pop("llama/sampled")
    assert {row.state for row in rows.values()} == {"same"}
    assert [line.partition(":")[0] for line in sampled.differences] == [
        "request-0, frequency_penalty"
    ]
