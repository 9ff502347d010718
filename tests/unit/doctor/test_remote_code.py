"""What a checkpoint's own Python asks of ``--trust-remote-code``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.checkpoints import OWN_CODE, edit, gone, put, write_checkpoint
from vllm_patchkit.doctor.checkpoint import read_checkpoint
from vllm_patchkit.doctor.model import Finding, Severity
from vllm_patchkit.doctor.remote_code import check_remote_code

FACTS: dict[str, Any] = {
    "config_types": ["Emu3", "chatglm"],
    "transformers_models": ["llama LlamaForCausalLM"],
    "tokenizer_classes": ["LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast"],
}
EXPECTED = [[], ["warning"], [], ["warning"], ["warning", "warning"], ["note"], ["error"]]


def findings(folder: Path, **facts: Any) -> list[Finding]:
    config = read_checkpoint(folder).config
    return list(check_remote_code(FACTS | facts, folder, config))


@pytest.mark.parametrize(("name", "expected"), [*zip(OWN_CODE, EXPECTED, strict=True)])
def test_what_needs_the_flag(name: str, expected: list[str], tmp_path: Path) -> None:
    """tests/integration/test_doctor_model.py asks vLLM the same."""
    folder = write_checkpoint(tmp_path / "model")
    OWN_CODE[name](folder)
    found = findings(folder)
    codes = {one.code for one in found if one.severity is not Severity.ERROR}
    assert codes <= {"model-remote-code"}
    assert [one.severity.value for one in found] == expected


def test_a_slow_name_stands_for_its_fast_class(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    code = {"AutoTokenizer": ["own.Own", None]}
    for name, count in (("Llama", 1), ("LlamaTokenizer", 0)):
        edit("tokenizer_config.json", tokenizer_class=name, auto_map=code)(folder)
        assert len(findings(folder)) == count
    edit("tokenizer_config.json", tokenizer_class="Llama")(folder)
    assert findings(folder, tokenizer_classes=[]) == []


def test_the_flag_and_the_files_to_read_are_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    OWN_CODE["a tokenizer"](folder)
    (found,) = findings(folder)
    assert "the tokenizer Own is Python of the checkpoint: own_tokens.py" in found.what
    assert "--trust-remote-code" in found.remedy
    assert "own_tokens.py" in found.remedy


def test_code_that_is_named_and_not_there(tmp_path: Path) -> None:
    """Where it would run it is missed; a model that vLLM reads itself can do without."""
    folder = write_checkpoint(tmp_path / "model")
    OWN_CODE["a configuration"](folder)
    gone("own_model.py")(folder)
    put("own_config.py", b"def")(folder)
    found = {one.code: one for one in findings(folder)}
    assert set(found) == {"model-code", "model-remote-code"}
    assert found["model-code"].severity is Severity.WARNING
    edit("config.json", model_type="Emu3")(folder)
    assert [one.severity for one in findings(folder)] == [Severity.NOTE]


def test_a_config_alone_says_nothing_of_code(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    OWN_CODE["both"](folder)
    assert findings(folder / "config.json") == []


def test_names_reach_no_terminal_as_they_are(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    code = {"AutoTokenizer": ["\x1b[2J" + "x" * 5000 + ".Own", None]}
    edit("tokenizer_config.json", tokenizer_class="\x1bOwn", auto_map=code)(folder)
    (found,) = findings(folder)
    assert (found.what + found.remedy).isprintable()
    assert len(found.what) < 1000
