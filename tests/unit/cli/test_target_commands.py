"""verify, status, apply, revert and identify from the command line: text, JSON and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.environments import RELEASE, STEP_2, Environment, write_wheel
from support.stacks import write_tree
from support.tiny_fixtures import environment as environment
from support.tiny_fixtures import stack as stack
from vllm_patchkit.cli import main


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_life_of_a_target(
    environment: Environment, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = environment.prefix
    assert run("verify", env, "--stack", stack) == 0
    assert "tiny: pristine" in capsys.readouterr().out
    assert run("apply", env, "--stack", stack, "--dry-run") == 0
    assert "tiny tiny.1: would be applied, 4 of 4 patches" in capsys.readouterr().out
    assert run("apply", env, "--stack", stack) == 0
    told = capsys.readouterr().out
    assert "  A vllm/new/pkg/model.py\n" in told
    assert "  D vllm/old.py\n" in told
    assert "  M vllm/engine.py\n" in told
    assert "dist-info/RECORD" not in told
    assert run("apply", env, "--stack", stack) == 0
    assert "already applied, 4 of 4 patches; nothing to do" in capsys.readouterr().out
    assert run("verify", env, "--stack", stack, "--expect", "applied") == 0
    assert run("verify", env, "--stack", stack, "--expect", "pristine") == 1
    assert run("status", env, "--stack", stack) == 0
    assert "recorded: tiny.1" in capsys.readouterr().out
    assert run("identify", env, "--stack", stack) == 0
    assert "tiny tiny.1: 4 of 4 patches" in capsys.readouterr().out
    assert run("revert", env, "--stack", stack) == 0
    assert "tiny tiny.1: reverted" in capsys.readouterr().out
    assert run("revert", env, "--stack", stack) == 0
    assert "already pristine; nothing to do" in capsys.readouterr().out
    assert environment.tree() == RELEASE


def test_a_bad_state_is_one_message_a_hint_and_exit_code_1(
    environment: Environment, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(environment.site, {"vllm/engine.py": b"mine\n"})
    assert run("verify", environment.prefix, "--stack", stack) == 1
    out = capsys.readouterr().out
    assert "tiny: drifted" in out
    assert "drifted   vllm/engine.py  expected" in out
    assert run("apply", environment.prefix, "--stack", stack) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "vllm-patchkit: error: " in told.err
    assert "hint: reinstall the base: pip install --force-reinstall --no-deps" in told.err
    assert "Traceback" not in told.err


def test_edits_are_kept_on_request(
    environment: Environment, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("apply", environment.prefix, "--stack", stack)
    write_tree(environment.site, {"vllm/engine.py": b"mine\n"})
    assert run("status", environment.prefix, "--stack", stack) == 1
    assert run("revert", environment.prefix, "--stack", stack) == 1
    patch = tmp_path / "edits.patch"
    capsys.readouterr()
    assert run("revert", environment.prefix, "--stack", stack, "--keep-edits", patch) == 0
    assert f"edits of vllm/engine.py saved to {patch}" in capsys.readouterr().out
    assert patch.read_bytes().startswith(b"diff --git a/vllm/engine.py b/vllm/engine.py\n")


@pytest.mark.parametrize("command", ["verify", "status", "apply", "revert", "identify"])
def test_every_command_speaks_json(
    environment: Environment, stack: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("apply", environment.prefix, "--stack", stack, "--upto", "2")
    capsys.readouterr()
    # Two patches of four are in: whoever verifies is told so by the exit code.
    assert run(command, environment.prefix, "--stack", stack, "--json") == (command == "verify")
    document = json.loads(capsys.readouterr().out)
    assert list(document)[:2] == ["format", "command"]
    assert document["command"] == command
    assert document["target"]["location"] == str(environment.site)


def test_the_json_of_verify_has_a_verdict_for_every_file(
    environment: Environment, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("verify", environment.prefix, "--stack", stack, "--json")
    report = json.loads(capsys.readouterr().out)["report"]
    assert (report["state"], report["applied"], report["total"]) == ("pristine", 0, 4)
    assert set(report["files"][0]) == {"path", "state", "expected", "found", "note"}
    assert len(report["files"]) == 5


@pytest.mark.parametrize(
    ("words", "code"),
    [(["verify", "/no/such"], 2), (["apply", "--upto", "99"], 2), (["apply", "--bogus"], 2)],
)
def test_exit_codes_tell_usage_from_failure(
    environment: Environment, stack: Path, words: list[str], code: int
) -> None:
    if "--upto" in words:
        words = [*words, str(environment.prefix)]
    assert run(*words, "--stack", stack) == code


def test_a_partial_target_is_told_with_its_prefix(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = write_tree(tmp_path / "tree", STEP_2)
    assert run("verify", tree, "--stack", stack) == 1
    assert "tiny: partial, the first 2 of 4 patches" in capsys.readouterr().out


def test_apply_on_a_wheel_writes_another_one(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(tmp_path / "in")
    before = wheel.read_bytes()
    assert run("apply", wheel, "--stack", stack, "--out", tmp_path / "out", "--dry-run") == 0
    assert not (tmp_path / "out").exists()
    assert run("apply", wheel, "--stack", stack, "--out", tmp_path / "out") == 0
    (built,) = (tmp_path / "out").iterdir()
    assert f"written to {built}" in capsys.readouterr().out
    assert wheel.read_bytes() == before
    assert run("verify", built, "--stack", stack, "--expect", "applied") == 0
    assert run("status", built, "--stack", stack) == 0
    assert "recorded: tiny.1" in capsys.readouterr().out
    assert run("apply", built, "--stack", stack) == 0
    assert "already applied" in capsys.readouterr().out
    assert run("apply", wheel, "--stack", stack, "--upto", "1") == 2
    assert run("revert", built, "--stack", stack) == 1
