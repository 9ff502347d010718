"""vllm-patchkit smoke and bench, as far as they go without a patched vLLM."""

from __future__ import annotations

import json
import sys
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from socket import socket

import pytest

from vllm_patchkit.cli import main
from vllm_patchkit.errors import HostError
from vllm_patchkit.launch import wheel_environment


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


PROOF = """\
from pathlib import Path
from patchkit_worker.contract import Proof, Stage
Path({mark!r}).touch()
PROOF = Proof(stages=(Stage(name="steps", run=print, scenarios=("slow-steps",)),))
"""


def patched_wheel(folder: Path, *, proof: str | None = None, tampered: bool = False) -> Path:
    """Write a wheel that a stack ``mine`` was built into, with scenarios of its own or without."""
    info = "vllm-0.11.0+mine.1.dist-info"
    record = f"{info}/vllm_patchkit/mine"
    smoke = '[smoke]\npackage = "smoke"\n' if proof else ""
    members = {
        "vllm/model_executor/models/registry.py": 'MODELS = {\n    "Qwen3ForCausalLM": "",\n}\n',
        f"{record}/lock.json": '{"stack": "mine"}',
        f"{record}/stack.toml": smoke,
    }
    if proof:
        members[f"{record}/smoke/proof.py"] = proof
    rows = [
        f"{name},sha256={urlsafe_b64encode(sha256(text.encode()).digest()).decode().rstrip('=')},"
        for name, text in members.items()
    ]
    if tampered:
        members[f"{record}/smoke/proof.py"] += "# another\n"
    wheel = folder / "vllm-0.11.0+mine.1-cp38-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**members, f"{info}/RECORD": "\n".join(rows)}.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture
def not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the wheel's environment be asked for and not be made: exit code 3."""

    def refuse(*_: object) -> Path:
        raise HostError("an environment was asked for")

    monkeypatch.setattr(wheel_environment, "make_environment", refuse)


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize(
    ("words", "own", "status", "message"),
    [
        (["--scenario", "nosuch"], False, 2, "there is no scenario 'nosuch'"),
        (["--scenario", "nosuch"], True, 2, "qwen3/server, slow-steps"),
        (["--scenario", "slow-steps"], False, 2, "there is no scenario 'slow-steps'"),
        (["--scenario", "slow-steps", "--no-own-scenarios"], True, 2, "there is no scenario"),
        (["--architecture", "Qwen"], False, 2, "near: Qwen3ForCausalLM"),
        (["--scenario", "llama", "--architecture", "qwen3"], False, 2, "qwen3/server"),
        (["--against", "nowhere"], False, 2, "nowhere is neither an interpreter"),
        (["--port", "{taken}"], False, 3, "port {taken} is already in use"),
        ([], True, 3, "an environment was asked for"),
        (["--scenario", "slow-steps"], True, 3, "an environment was asked for"),
        (["--scenario", "one", "--architecture", "qwen3"], False, 3, "an environment was asked"),
    ],
)
def test_what_a_wheel_does_not_have_is_refused_before_an_environment_is_made(
    words, own, status, message, tmp_path: Path, capsys
):
    wheel = patched_wheel(tmp_path, proof=PROOF.format(mark=str(tmp_path / "ran")) if own else None)
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [word.format(taken=port) for word in words]
        assert main(["smoke", str(wheel), "--interpreter", sys.executable, *words]) == status
    assert message.format(taken=port) in capsys.readouterr().err
    assert (tmp_path / "ran").exists() is (own and "--no-own-scenarios" not in words)


@pytest.mark.usefixtures("not_installed")
def test_a_proof_that_is_not_the_recorded_one_does_not_run_for_its_names(tmp_path: Path):
    """What is wrong with it says the run itself."""
    wheel = patched_wheel(tmp_path, proof=PROOF.format(mark=str(tmp_path / "ran")), tampered=True)
    words = ["--interpreter", sys.executable, "--scenario", "slow-steps"]
    assert main(["smoke", str(wheel), *words]) == 3
    assert not (tmp_path / "ran").exists()


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
