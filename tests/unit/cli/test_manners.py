"""How every command behaves towards terminals, pipes and scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.environments import install, make_stack, write_wheel
from vllm_patchkit import __version__
from vllm_patchkit.cli import COMMANDS, main
from vllm_patchkit.host.process import isolated, run
from vllm_patchkit.targets.environment import site_folders

OWN = "vllm_patchkit"
WARM = ("cli", "cli.parser", "errors", "host", "host.terminal")
COLD = {OWN, *(f"{OWN}.{name}" for name in WARM)}


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_the_front_door_opens_without_the_house(words: list[str]) -> None:
    """Start-up is imports: these two import neither a command nor anything heavy."""
    code = (
        f"import sys; from vllm_patchkit.cli import main; main({words}); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    cold = COLD | {f"{OWN}.version"} if "--version" in words else COLD
    assert {name for name in loaded if name.startswith(OWN)} == cold
    heavy = {"json", "subprocess", "zipfile", "hashlib", "email", "asyncio", "importlib.metadata"}
    started = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True
    )
    assert not (loaded - set(started.stdout.split())) & heavy


def test_the_version_is_all_that_version_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"{__version__}\n", "")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    return make_stack(tmp_path / "tiny")


def test_quiet_keeps_the_result_and_drops_what_is_said_by_the_way(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One meaning for every command: the standard output is the same with and without it."""
    place = str(install(tmp_path / "env").prefix)
    base = str(write_wheel(tmp_path / "base"))
    target = [place, "--stack", str(stack)]
    for words in (
        ["verify", *target],
        ["status", *target],
        ["identify", *target],
        ["apply", *target, "--dry-run"],
        ["lint", str(stack), "--base", base],
        ["lock", str(stack), "--base", base],
        ["wheel", str(stack), "--base", base, "--out", str(tmp_path / "out")],
    ):
        assert main(words) == 0, words
        loud = capsys.readouterr()
        assert main([words[0], "--quiet", *words[1:]]) == 0
        quiet = capsys.readouterr()
        assert quiet == (loud.out, ""), words


def test_quiet_still_says_what_is_wrong(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = install(tmp_path / "env")
    (environment.site / "vllm/engine.py").write_bytes(b"drifted\n")
    words = [str(environment.prefix), "--stack", str(stack)]
    assert main(["verify", "--quiet", *words]) == 1
    assert "vllm/engine.py" in capsys.readouterr().out
    assert main(["apply", "--quiet", *words]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vllm-patchkit: error: ")


def test_quiet_json_is_still_json(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(install(tmp_path / "env").prefix)
    assert main(["verify", "-q", "--json", place, "--stack", str(stack)]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["state"] == "pristine"


def test_a_log_file_has_every_message_with_its_time(stack: Path, tmp_path: Path) -> None:
    place, log = str(install(tmp_path / "env").prefix), tmp_path / "log"
    words = ["--quiet", "--log-file", str(log), place, "--stack", str(stack)]
    assert main(["apply", *words]) == 0
    assert main(["apply", *words, "--upto", "0009"]) == 2
    lines = log.read_text().splitlines()
    assert any(line.endswith("applied, 4 of 4 patches") for line in lines)
    assert any(" error: " in line for line in lines)
    assert all(line[:2] == "20" and line[10] == "T" for line in lines if " error: " in line)


def test_a_log_file_that_cannot_be_written_is_a_mistake_of_the_call(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "no" / "such" / "folder"
    assert main(["verify", "--log-file", str(log), "--stack", str(stack)]) == 2
    assert "--log-file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("surroundings", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"CI": "true"}, False),
    ],
)
def test_colour_is_for_terminals(
    surroundings: dict[str, str],
    coloured: bool,
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    assert main(["verify", str(install(tmp_path / "env").prefix), "--stack", str(stack)]) == 0
    assert ("\x1b[" in capsys.readouterr().out) == coloured


@pytest.mark.parametrize(
    ("words", "code"),
    [([], 2), (["nonsense"], 2), (["verify", "--nonsense"], 2), (["--help"], 0)],
)
def test_exit_codes_of_the_call(words: list[str], code: int) -> None:
    assert main(words) == code


def test_a_file_that_cannot_be_had_is_no_traceback(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no" / "such" / "folder"
    assert main(["release", "--project", str(missing), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"vllm-patchkit: error: there is no {missing}\nhint: ")


def test_completion_is_a_script_that_the_shell_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    ask = (
        "COMP_WORDS=(vllm-patchkit ver); COMP_CWORD=1; COMP_LINE='vllm-patchkit ver'; "
        "_shtab_vllm_patchkit; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {"verify", "verify-release"}
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef vllm-patchkit")


def test_completion_names_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 3
    assert "vllm-patchkit[completion]" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output_is_the_machines_fault(unbuffered: str) -> None:
    """Linux's /dev/full is a disk without space; the code is 3, whenever the words are written."""
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    for words, code in (["completion", "bash"], 3), (["lock", "not-there", "--json"], 2):
        argv = [sys.executable, "-m", OWN, *words]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
        assert done.returncode == code, done.stderr
        assert ("No space left on device" in done.stderr) == (code == 3)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_leave_the_exit_code(closed: str) -> None:
    for words, code in (["completion", "bash"], 0), (["lock", "not-there"], 2):
        argv = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", OWN, *words]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)]
)
def test_every_page_says_that_its_output_is_full(words: list[str]) -> None:
    argv = [sys.executable, "-m", OWN, *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert done.stderr == (
        "vllm-patchkit: error: No space left on device\nhint: see what the disk has left: df\n"
    )


def test_a_reader_that_went_away_is_no_fault() -> None:
    for words in ["--version"], ["--help"], ["lint", "--help"]:
        reader, writer = os.pipe()
        os.close(reader)
        argv = [sys.executable, "-m", OWN, *words]
        done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, "")


# Modules of Python that the tool or what it starts imports, under the names that people give files.
SHADOWS = ("random", "json", "tempfile", "subprocess", "argparse", "zipfile", "email", "token")


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    for name in SHADOWS:
        place = tmp_path / "shadows" / f"{name}.py"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"raise RuntimeError('{name} is a file of somebody')\n")
    return tmp_path / "shadows"


@pytest.mark.parametrize("by", ["PYTHONPATH", "folder"])
def test_files_named_like_modules_of_python_do_no_harm(
    by: str, shadows: Path, stack: Path, tmp_path: Path
) -> None:
    place = install(tmp_path / "env").prefix
    env = {**os.environ, **({"PYTHONPATH": str(shadows)} if by == "PYTHONPATH" else {})}
    command = [str(Path(sys.executable).with_name("vllm-patchkit"))]
    for words in (
        ["--version"],
        ["completion", "bash"],
        ["verify", str(place), "--stack", str(stack), "--json"],
        ["lint", str(stack)],
    ):
        for start in command, [sys.executable, "-m", OWN]:
            done = subprocess.run(
                [*start, *words], cwd=shadows, env=env, capture_output=True, text=True
            )
            assert "is a file of somebody" not in done.stderr, done.stderr
            assert done.returncode in (0, 1)


def test_a_python_that_the_tool_starts_knows_nothing_of_them(
    shadows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(shadows))
    monkeypatch.chdir(shadows)
    assert run([*isolated(sys.executable, "pip"), "--version"]).startswith(b"pip ")
    assert site_folders(os.path.realpath(sys.executable))
