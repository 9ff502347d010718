"""docs/json.md has every key that --json prints, in the order of the document."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.environments import install, make_stack, write_wheel
from support.json_page import documented_keys
from vllm_patchkit.bench.generate import BenchOptions, BenchReport
from vllm_patchkit.cli import COMMANDS, main

NO_JSON = {"diff", "range-diff", "report", "export", "edit", "completion", "checkpoint"}
SOURCES = Path(__file__).parents[3] / "tooling" / "vllm_patchkit"
# Too long to run here: an image, a release. Their keys are looked up in the source.
LONG = {"image": "cli/image.py", "release": "cli/release.py"}

Calls = dict[str, list[str]]


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    """Return call -> words, in the order in which they can be run."""
    stack = str(make_stack(tmp_path / "tiny"))
    place = [str(install(tmp_path / "env").prefix), "--stack", stack]
    base, out = str(write_wheel(tmp_path / "base")), tmp_path / "out"
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "SHA256SUMS").write_text(f"{'0' * 64}  gone.whl\n")
    given = ["--python-version", "3.12", "--torch", "2.8", "--cuda", "12", "--cxx11-abi", "true"]
    return {
        "verify": ["verify", *place],
        "status": ["status", *place],
        "apply": ["apply", *place],
        "identify": ["identify", *place],
        "revert": ["revert", *place],
        "lint": ["lint", stack, "--base", base],
        "lock": ["lock", stack, "--base", base],
        "wheel": ["wheel", stack, "--base", base, "--out", str(out)],
        "flash-attn": ["flash-attn", *given],
        "doctor": ["doctor", "--python", sys.executable],
        "verify-release": ["verify-release", str(tmp_path / "release")],
    }


def test_the_documented_keys_are_the_printed_ones(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calls
    for call, words in calls.items():
        main([*words, "--json"])
        document = json.loads(capsys.readouterr().out)
        assert list(document) == ["format", "command", *documented_keys()[call]], call
        assert (document["format"], document["command"]) == (1, words[0])


@pytest.mark.parametrize("command", LONG)
def test_the_documented_keys_of_long_commands_are_written_by_them(command: str) -> None:
    source = (SOURCES / LONG[command]).read_text()
    assert [key for key in documented_keys()[command] if f'"{key}"' not in source] == []


def test_the_documented_keys_of_a_measurement_are_those_of_its_report() -> None:
    document = BenchReport(options=BenchOptions(), location="env").to_json()
    assert list(document) == ["format", *documented_keys()["bench"]]


def test_every_command_with_json_has_a_row() -> None:
    rows = {call.partition(" ")[0] for call in documented_keys()}
    assert rows | {"smoke"} == set(COMMANDS) - NO_JSON


def test_several_targets_are_a_list_of_reports(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = str(install(tmp_path / "other").prefix)
    words = calls["identify"]
    assert main(["identify", words[1], second, *words[2:], "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)["reports"]
    assert [list(report) for report in reports] == [documented_keys()["identify"]] * 2
