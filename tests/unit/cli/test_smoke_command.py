"""vllm-patchkit smoke and bench, as far as they go without a patched vLLM."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from vllm_patchkit.cli import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one artifact"),
        ([sys.executable, "--image", "y"], "give one artifact"),
        (["--python", sys.executable, "--image-size", "4"], "'4' is no image size"),
        (["--python", sys.executable, "--stack", "nothing"], "there is no stack 'nothing'"),
    ],
)
def test_a_bad_call_is_refused_with_a_hint(words, message, capsys):
    assert main(["smoke", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "hint: " in captured.err
    assert captured.out == ""


def test_a_missing_artifact_is_a_mistake_of_the_call(capsys):
    for words in (["--python", "/nonexistent"], ["/nonexistent.whl"]):
        assert main(["smoke", *words]) == 2
        assert f"there is no {words[-1]}\n" in capsys.readouterr().err


def test_an_unpatched_wheel_is_refused_before_an_environment_is_made(tmp_path: Path, capsys):
    wheel = tmp_path / "vllm-0.11.0-cp38-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("vllm/__init__.py", "")
    assert main(["smoke", str(wheel)]) == 1
    assert "wrong artifact" in capsys.readouterr().err


def test_json_goes_to_stdout_and_progress_to_stderr(tmp_path: Path, capsys):
    """This interpreter has no vllm: one failed check, exit code 1, a complete report."""
    code = main(
        ["smoke", "--python", sys.executable, "--checks-only", "--json", "--out", str(tmp_path)]
    )
    captured = capsys.readouterr()
    assert code == 1
    report = json.loads(captured.out)
    assert report["format"] == 1
    assert [check["ok"] for check in report["checks"]] == [False]
    assert report["subject"]["kind"] == "environment"
    written = json.loads((tmp_path / "smoke.json").read_text(encoding="utf-8"))
    assert {**written, "command": "smoke"} == report
    assert "FAILED" in captured.err


def test_the_documented_keys_are_the_written_ones(tmp_path: Path, capsys):
    """Every key of smoke.json has its line in docs/smoke.md, in the same order."""
    main(["smoke", "--python", sys.executable, "--checks-only", "--json"])
    keys = [key for key in json.loads(capsys.readouterr().out) if key != "command"]
    page = Path(__file__).parents[3] / "docs" / "smoke.md"
    rows = page.read_text(encoding="utf-8").partition("## smoke.json")[2].splitlines()
    documented = [
        key.strip("` ")
        for row in rows
        if row.startswith("| `")
        for key in row.split("|")[1].split(",")
    ]
    assert documented == keys


@pytest.mark.parametrize("words", [["--images", "x"], ["--size", "4:4"]])
def test_a_bad_measurement_is_refused(words, capsys):
    assert main(["bench", "generate", *words]) == 2
    assert "hint: " in capsys.readouterr().err
