"""The workflow that forks copy: it is valid, asks for few rights, and runs targets that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
WORKFLOW = ROOT / "ci" / "github-workflow.yml"


def test_it_is_valid_by_githubs_schema() -> None:
    options = ["--builtin-schema", "vendor.github-workflows"]
    subprocess.run([BIN / "check-jsonschema", *options, WORKFLOW], check=True)


def test_an_auditor_of_workflows_finds_nothing() -> None:
    """Zizmor, without asking the network, with the configuration that is copied along."""
    options = ["--offline", "--no-progress", "--no-exit-codes", "--format", "json"]
    command = [BIN / "zizmor", *options, "--config", ROOT / "ci" / "zizmor.yml", WORKFLOW]
    audited = subprocess.run(command, capture_output=True, text=True, check=True)
    assert audited.stdout.strip() == "[]", audited.stdout


def test_every_step_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"- run: make (\S+)", WORKFLOW.read_text())
    assert targets == [
        "check", "lint-stack", "build-wheel", "reproduce", "smoke", "image", "smoke-image",
    ]  # fmt: skip
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_stack_that_the_workflow_names_is_the_one_that_is_made() -> None:
    """A fork writes its stack's name in one place, and each target takes it from there."""
    (name,) = re.findall(r"(?m)^env:\n(?:  .*\n)*?  STACK: (\S+)$", WORKFLOW.read_text())
    assert (ROOT / "patches" / name / "stack.toml").is_file()
    for target in ("lint-stack", "build-wheel", "reproduce", "image"):
        words = ["make", "-n", target]
        environment = {**os.environ, "STACK": "of-a-fork"}
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert "of-a-fork" in done.stdout, target


def test_what_installs_for_minutes_says_so_before() -> None:
    """pip and uv are told to be quiet, so that nothing but these lines tells work from a hang."""
    for target in (".venv/.ready", "build/env-cpu/.requirements"):
        words = ["make", "-n", "-B", target]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        quiet = done.stdout.rindex("install --quiet")
        assert "without a word" in done.stdout[:quiet], target


def test_every_action_is_pinned_by_commit_with_its_release_beside_it() -> None:
    uses = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert len(uses) >= 4
    for use in uses:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use


def test_the_tested_wheel_is_the_uploaded_one() -> None:
    """Jobs that run the wheel take it from the build's artifact, and no step builds another."""
    text = WORKFLOW.read_text()
    jobs = dict(re.findall(r"(?ms)^  (\w+):\n(.*?)(?=^  \w+:\n|\Z)", text.partition("jobs:")[2]))
    for name in ("smoke", "image"):
        taken = jobs[name].partition("actions/download-artifact@")[2]
        assert "name: wheel-cpu\n          path: wheels/out" in taken
        assert f'make {name} WHEEL="$(ls wheels/out/*.whl)"' in taken
        assert "build-wheel" not in jobs[name]


def test_a_wheel_that_was_given_is_the_one_that_is_used() -> None:
    """``make -n`` shows what would be run for the environment of the smoke."""
    words = ["make", "-n", "-W", "Makefile", "-B", "build/wheel-cpu-cp312", f"WHEEL={WORKFLOW}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f'ls "{WORKFLOW}" > build/wheel-cpu-cp312.new' in done.stdout
    assert "vllm-patchkit wheel" not in done.stdout


def test_the_configuration_of_the_audit_is_named_where_the_workflow_is_copied() -> None:
    for place in ("ci/github-workflow.yml", "docs/container.md"):
        assert ".github/zizmor.yml" in (ROOT / place).read_text()
