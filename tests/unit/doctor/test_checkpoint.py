"""What is wrong with a checkpoint's folder is said, and what loads has nothing wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.checkpoints import FAULTS, HARMLESS, SHARDS, edit, header, put, write_checkpoint
from vllm_patchkit.cli import main
from vllm_patchkit.doctor.checkpoint import check_architecture, read_checkpoint
from vllm_patchkit.doctor.model import Finding, Severity


def errors(path: Path) -> list[Finding]:
    found = read_checkpoint(path).findings
    return [finding for finding in found if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_would_end_a_load_is_an_error(fault: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    act, code = FAULTS[fault]
    act(folder)
    assert {finding.code for finding in errors(folder)} == {code}


@pytest.mark.parametrize("oddity", HARMLESS)
def test_what_loads_has_no_error(oddity: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    HARMLESS[oddity](folder)
    assert errors(folder) == []


def test_a_name_on_a_hub_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "BAAI/Emu3.5-Image"]) == 2
    assert "hf download BAAI/Emu3.5-Image prints that of a hub's" in capsys.readouterr().err


def test_places_that_are_no_checkpoint(tmp_path: Path) -> None:
    """Another file, a pipe, a loop, an empty folder: each is said, and none is waited for."""
    (tmp_path / "text").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").mkdir()
    for name in ("text", "pipe", "loop", "empty"):
        (first, *_) = errors(tmp_path / name)
        assert (first.code, str(tmp_path / name) in first.what) == ("model-config", True)


def test_a_config_alone_says_nothing_of_weights(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / SHARDS[0]).unlink()
    read = read_checkpoint(folder / "config.json")
    assert (read.findings, read.has_dimensions) == ((), True)


def test_a_hub_s_cache_names_its_snapshot_and_what_to_fetch(tmp_path: Path) -> None:
    """The folder of the repository has no config, and the snapshot's links lead to its blobs."""
    root = tmp_path / "models--BAAI--Emu3.5-Image"
    folder = write_checkpoint(root / "snapshots" / "0123")
    assert errors(root)[0].remedy == f"name the folder that has it: --model {folder}"
    (folder / SHARDS[1]).unlink()
    (folder / SHARDS[1]).symlink_to("../../blobs/4567")
    (found,) = errors(folder)
    assert found.what == f"{folder / SHARDS[1]} leads to ../../blobs/4567, which is not there"
    assert found.remedy == "hf download BAAI/Emu3.5-Image fetches what is missing"


def test_code_of_a_tokenizer_and_the_files_that_it_reads(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    edit("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]})(folder)
    put("own.py", b'from .more import x\nVOCAB_FILES_NAMES = {"a": "own.tiktoken", "b": "v.txt"}')(
        folder
    )
    said = " ".join(finding.what for finding in errors(folder))
    assert all(f"{folder / name} is not there" in said for name in ("more.py", "own.tiktoken"))
    put("more.py", b"x = 1")(folder)
    put("own.tiktoken", b"YQ== 0\n")(folder)
    put("v.txt", b"")(folder)
    assert [finding.what for finding in errors(folder)] == [f"{folder / 'v.txt'} is empty"]


def test_names_in_a_checkpoint_do_not_reach_the_terminal_as_they_are(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    name = "\x1b[2J\ud800" + "x" * 10_000
    header(lambda found: found.update({name: {"dtype": "F32"}}))(folder)
    (finding,) = errors(folder)
    assert finding.what.isprintable()
    assert (len(finding.what) < 1000, "\\x1b[2J\\ud800" in finding.what) == (True, True)


@pytest.mark.parametrize(
    ("known", "models", "expected"),
    [
        (["LlamaForCausalLM"], [], None),
        ([], [], None),
        (["Other"], ["llama LlamaForCausalLM"], Severity.WARNING),
        (["Other"], ["Llama LlamaForCausalLM"], Severity.ERROR),
    ],
)
def test_a_model_that_this_vllm_does_not_know(
    known: list[str], models: list[str], expected: Severity | None, tmp_path: Path
) -> None:
    """transformers' own code runs it only where the type of model is the same to the letter."""
    read = read_checkpoint(write_checkpoint(tmp_path / "model"))
    facts = {"architectures": known, "transformers_models": models}
    found = [finding.severity for finding in check_architecture(facts, read)]
    assert found == ([expected] if expected else [])
