"""The workflow that forks copy: it is valid, asks for few rights, and runs targets that exist."""

from __future__ import annotations

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
    """Zizmor, without asking the network; actions named by release are noted in the file."""
    options = ["--offline", "--no-progress", "--no-exit-codes", "--format", "json"]
    command = [BIN / "zizmor", *options, "--config", ROOT / "ci" / "zizmor.yml", WORKFLOW]
    audited = subprocess.run(command, capture_output=True, text=True, check=True)
    assert audited.stdout.strip() == "[]", audited.stdout


def test_every_step_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"- run: make (\S+)", WORKFLOW.read_text())
    assert targets == ["check", "build-wheel", "reproduce", "smoke", "image", "smoke-image"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
