"""What somebody tries who has read one page: each mistake ends with what to do next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from vllm_patchkit import __main__ as front_door
from vllm_patchkit.cli import COMMANDS, main
from vllm_patchkit.cli.parser import OTHER_WORDS
from vllm_patchkit.launch import session

ROOT = Path(__file__).parents[3]
PATCHES = "patches/slow_steps"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is no checkout, with what lies about in one, and an empty cache."""
    folder = tmp_path / "here"
    (folder / "nothing").mkdir(parents=True)
    # Other tests import what is in there, and Python writes bytecode under names that go at once.
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "patches", folder / "patches", ignore=ignore)
    shutil.copytree(ROOT / "tests" / "data" / "slow_steps", folder / PATCHES)
    (folder / "notes.txt").write_text("a file\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


def require_advice(call: str, codes: tuple[int, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """Make a call that is a mistake, and return what is said: why, and what to do next."""
    assert main(call.split()) in codes, call
    said = capsys.readouterr().err
    assert "vllm-patchkit: error: " in said
    assert "\nhint: " in said, said
    return said


@pytest.mark.parametrize("word", OTHER_WORDS)
def test_the_word_of_another_program_names_the_command(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    meant = OTHER_WORDS[word]
    assert word not in COMMANDS
    assert meant in ("--help", "--version") or meant.partition(" ")[0] in COMMANDS
    assert f"did you mean {meant}?" in require_advice(word, (2,), capsys)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "call",
    [
        "apply emu3_5",
        "bisect emu3_5",
        "bundle",
        "checkpoint tiny",
        "compose emu3_5",
        "compose house --continue",
        "compose emu3_5 --continue",
        "doctor --python nothing",
        "export emu3_5 --bundle",
        "export emu3_5 --onto v0.11.0",
        "flash-attn --torch 2.8",
        "image --wheel nothing",
        "image --wheel notes.txt",
        f"import {PATCHES}",
        "import nothing --base vllm==0.11.0 --name x",
        f"import {PATCHES} --base vllm==0.11.0 --name x --signoff",
        "import --continue",
        "report emu3_5 --html nothing",
        "report emu3_5 --html .",
        "lint emu35",
        "lint nothing",
        "lint patches",
        "lock --log-file nothing",
        "range-diff emu3_5",
        "rebase emu3_5",
        "rebase emu3_5 --continue",
        "rebase emu3_5 --abort",
        "release",
        "release --index x",
        "release --out nothing notes.txt",
        "smoke",
        "smoke emu3_5",
        "smoke notes.txt",
        "smoke nothing",
        f"smoke --python {sys.executable} --against nothing",
        f"smoke --python {sys.executable} --against emu3_5",
        "smoke --python nothing",
        "split emu3_5",
        "undo emu3_5",
        "verify --stack emu3_5_hf",
        "verify notes.txt",
        "verify-release nothing",
        "wheel --check nothing",
        "wheel --check notes.txt --flavor cpu",
        "wheel --cpu",
    ],
)
def test_a_wrong_call_is_told_what_to_do(call: str, capsys: pytest.CaptureFixture[str]) -> None:
    require_advice(call, (2,), capsys)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", ["verify", "status", "apply", "revert"])
@pytest.mark.parametrize("where", ["nothing", "patches", "patches/emu3_5", "~", "/"])
def test_a_folder_that_holds_nothing_of_a_stack_is_no_target(
    command: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was taken for a model's folder whose file is missing."""
    where = str(Path.home().parent) if where == "~" else where
    said = require_advice(f"{command} {where}", (1,), capsys)
    assert f"{where} has no folder vllm/ of vllm" in said
    assert "give the folder that holds vllm/" in said


def test_a_model_s_folder_is_known_by_its_files(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(ROOT / "tests" / "data" / "emu3_5_hf", place / "model")
    assert main(["verify", str(model)]) == 0
    assert "emu3_5_hf: pristine" in capsys.readouterr().out
    assert main(["apply", str(model)]) == 0
    # All that is left of it is the record.
    (model / "modeling_emu3.py").unlink()
    assert main(["verify", str(model)]) == 1
    assert "emu3_5_hf: drifted" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "call",
    [
        f"base {PATCHES}",
        "bisect emu3_5 -- true",
        "compose emu3_5 emu3_5 --name x",
        "diff emu3_5",
        "edit emu3_5",
        "export emu3_5",
        "matrix emu3_5",
        "range-diff emu3_5",
        "rebase emu3_5 --onto 0.11.1 --dry-run",
        "refresh emu3_5",
        "undo emu3_5",
    ],
)
def test_without_git_the_machine_is_to_be_mended(
    call: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    said = require_advice(call, (3,), capsys)
    assert "git is not installed" in said
    assert "install git" in said


@pytest.mark.parametrize("call", [f"base {PATCHES}", "edit emu3_5", "undo emu3_5", "wheel"])
@pytest.mark.parametrize("cache", ["notes.txt", "/proc/cache", "/dev/null/cache"])
def test_a_cache_that_cannot_be_is_named_with_what_moves_it(
    call: str,
    cache: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(place / cache))
    said = require_advice(call, (3,), capsys)
    assert f"the cache is {place / cache}; elsewhere with VLLM_PATCHKIT_CACHE=DIR" in said


def test_an_environment_without_vllm_is_for_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "--python", sys.executable, "--checks-only"]) == 1
    assert f"hint: vllm-patchkit doctor --python {sys.executable}" in capsys.readouterr().out


def test_a_place_for_results_is_tried_before_the_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was found out after minutes, whose results were lost."""
    monkeypatch.setattr(session, "_start", None)
    call = f"smoke --python {sys.executable} --out {place}/notes.txt/results"
    assert "or name another place" in require_advice(call, (3,), capsys)


def test_ctrl_c_between_two_lines_of_a_command_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(front_door, "_put_own_modules_first", interrupt)
    assert front_door.run() == 130
    assert capsys.readouterr().err == "vllm-patchkit: error: interrupted\n"
