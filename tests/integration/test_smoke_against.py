"""Faults in files of vLLM, each a changed number, and what ``--against`` says of them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from vllm_patchkit.cli import main
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.launch.base_environment import base_environment
from vllm_patchkit.launch.subject import find_environment
from vllm_patchkit.smoke import SmokeOptions, run_smoke
from vllm_patchkit.smoke.against import compare

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("SMOKE_TEST_PYTHON", ROOT / "build/env-cpu/bin/python"))
PATIENCE_S = 3600
OPTIONS = SmokeOptions(
    architectures=("LlamaForCausalLM",),
    scenarios=("one", "sampled", "logprobs", "refusals"),
    own_scenarios=False,
    unpatched=True,
    timeout_s=PATIENCE_S,
)
# Where, what it is in the release, what it becomes, the scenario and the request that show it.
ATTENTION = (
    ("v1/attention/backends/cpu_attn.py", "float(scale)", "float(scale) * 1.2", "one", "request-0"),
)
SAMPLER = (
    (
        "model_executor/layers/utils.py",
        "logits -= frequency_penalties.unsqueeze(dim=1) *",
        "logits -= 3 * frequency_penalties.unsqueeze(dim=1) *",
        "sampled",
        "request-0, frequency_penalty",
    ),
    (
        "model_executor/layers/utils.py",
        "logits -= presence_penalties.unsqueeze(dim=1) *",
        "logits -= 3 * presence_penalties.unsqueeze(dim=1) *",
        "sampled",
        "request-0, presence_penalty",
    ),
    (
        "model_executor/layers/utils.py",
        " repetition_penalties)",
        " 3 * repetition_penalties - 2)",
        "sampled",
        "request-0, repetition_penalty",
    ),
    (
        "v1/sample/ops/topk_topp_sampler.py",
        "1 - p.unsqueeze",
        "1 - 0.1 * p.unsqueeze",
        "sampled",
        "request-0, top_p",
    ),
    (
        "v1/sample/logits_processor/builtin.py",
        "+= self.bias_tensor",
        "+= 3 * self.bias_tensor",
        "sampled",
        "request-0, logit_bias",
    ),
    (
        "v1/sample/sampler.py",
        "logits.log_softmax(dim=-1, dtype=torch.float32)",
        "logits.log_softmax(dim=-1, dtype=torch.float32) * 1.01",
        "logprobs",
        "log probabilities are off by",
    ),
)

pytestmark = [
    pytest.mark.slow(seconds=255),
    pytest.mark.timeout(PATIENCE_S),
    pytest.mark.skipif(not PYTHON.exists(), reason="build/env-cpu is missing: run make env-cpu"),
]


def measure(faults=()):
    """Run the scenarios on the release, with so many faults in it."""
    with base_environment(find_environment(PYTHON), Console(quiet=True)) as base:
        (package,) = Path(base.location).glob("lib/*/site-packages/vllm")
        for path, before, after, *_ in faults:
            text = (package / path).read_text(encoding="utf-8")
            assert text.count(before) == 1, path
            (package / path).unlink()
            (package / path).write_text(text.replace(before, after), encoding="utf-8")
        return run_smoke(base, OPTIONS, lambda event, report: None)


@pytest.fixture(scope="module")
def release():
    """What the release says of itself."""
    found = measure()
    assert found.ok, (found.problems, found.checks, found.scenarios)
    return found


def test_a_model_that_the_stack_does_not_concern_is_what_it_was(release):
    """Greedy and seeded tokens, penalties, biases, masks, log probabilities, refusals."""
    options = replace(OPTIONS, unpatched=False)
    patched = run_smoke(find_environment(PYTHON), options, lambda event, report: None)
    found = compare(patched, release, own=())
    assert [(row.scenario, row.differences) for row in found.rows] == [
        (f"llama/{name}", ()) for name in OPTIONS.scenarios
    ]
    assert found.ok


def test_each_fault_is_named(release):
    for faults in (ATTENTION, SAMPLER):
        found = compare(measure(faults), release, own=())
        rows = {row.scenario: row for row in found.rows}
        for path, _, _, scenario, text in faults:
            differences = rows[f"llama/{scenario}"].differences
            assert any(line.startswith(text) for line in differences), (path, differences)
        if faults is SAMPLER:
            # What none of them touches is the same.
            assert rows["llama/one"].state == "same"


def test_a_release_is_taken_only_where_that_is_said(capsys):
    """``--unpatched``: without it the release that a stack is cut from is the wrong artifact."""
    with base_environment(find_environment(PYTHON), Console(quiet=True)) as base:
        words = ["smoke", "--python", base.location, "--checks-only"]
        assert main(words) == 1
        assert "--unpatched" in capsys.readouterr().out
        assert main([*words, "--unpatched"]) == 0
        assert "no stack" in capsys.readouterr().out
