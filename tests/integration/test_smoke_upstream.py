"""Upstream's own tests on the real artifact, and on a release with a fault in it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from vllm_patchkit.cli import main
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.launch.base_environment import base_environment
from vllm_patchkit.launch.subject import find_environment
from vllm_patchkit.launch.supply import find_supply
from vllm_patchkit.smoke.options import SmokeOptions, UpstreamTests
from vllm_patchkit.smoke.upstream import run_upstream
from vllm_patchkit.wheel.sdist import fetch_sdist, find_sdist

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("SMOKE_TEST_PYTHON", ROOT / "build/env-cpu/bin/python"))
FILE = "tests/v1/test_request.py"
LIMIT_S = 900

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow(seconds=105),
    pytest.mark.timeout(4 * LIMIT_S),
    pytest.mark.skipif(not PYTHON.exists(), reason="build/env-cpu is missing: run make env-cpu"),
]


def test_the_stack_breaks_nothing_in_a_file_that_imports_what_it_touches(capsys):
    words = ["--python", str(PYTHON), "--upstream-tests", "--upstream-file", "v1/test_request.py"]
    status = main(["smoke", *words, "--upstream-limit", str(LIMIT_S), "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    found = json.loads(captured.out)["upstream"]
    assert found["sdist"]["sha256"] == find_sdist("vllm", "0.11.0").sha256
    (file,) = found["files"]
    assert (file["file"], file["modules"]) == (FILE, ["vllm.v1.request"])
    assert file["here"]["passed"] == file["there"]["passed"] == found["there"]["passed"] > 0
    assert found["differences"] == []


def test_a_fault_is_named_by_the_test_that_finds_it():
    """The file's one test compares how a status is written."""
    sdist = fetch_sdist("vllm", "0.11.0", Console(quiet=True))
    supply = find_supply(str(PYTHON), Console(quiet=True))
    tests = UpstreamTests(
        sdist=str(sdist),
        sha256="",
        touched=("vllm.v1.request",),
        only=("v1/test_request.py",),
        supply=str(supply) if supply else None,
        limit_s=LIMIT_S,
    )
    subject = find_environment(PYTHON)
    with (
        base_environment(subject, Console(quiet=True)) as faulty,
        base_environment(subject, Console(quiet=True)) as release,
    ):
        (path,) = Path(faulty.location).glob("lib/*/site-packages/vllm/v1/request.py")
        text = path.read_text(encoding="utf-8")
        assert text.count("return self.name\n") == 1
        path.unlink()
        path.write_text(text.replace("return self.name\n", "return self.name.lower()\n"))
        options = replace(SmokeOptions(upstream=tests), unpatched=True)
        report = run_upstream(faulty, release, options, lambda event, report: None)
    assert not report.ok
    (found,) = report.upstream.differences
    assert (found.test, found.here, found.there) == (
        f"{FILE}::test_request_status_fmt_str",
        "failed",
        "passed",
    )
    assert "waiting" in found.reason.lower()
