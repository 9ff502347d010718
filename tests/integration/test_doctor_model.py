"""Of each checkpoint, ``doctor --model`` says what vLLM's own loader says: does it load?"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from support.checkpoints import FAULTS, HARMLESS, OWN_CODE, safetensors, write_checkpoint
from vllm_patchkit.cli import main
from vllm_patchkit.doctor.checkpoint import read_checkpoint
from vllm_patchkit.doctor.model import Severity
from vllm_patchkit.doctor.safetensors import SafetensorsError, read_header

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("SMOKE_TEST_PYTHON", ROOT / "build/env-cpu/bin/python"))
LOADER = ROOT / "tests" / "support" / "load_model.py"
MUTANTS = 400

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not PYTHON.exists(), reason="build/env-cpu is missing: run make env-cpu"),
]


def loads(*words: str | Path) -> dict[str, str | None]:
    """Return what each load ended with, in vLLM's interpreter."""
    done = subprocess.run([PYTHON, LOADER, *words], capture_output=True, text=True, check=False)
    found = dict(json.loads(row) for row in re.findall(r"^loaded (.*)$", done.stdout, re.MULTILINE))
    assert found, done.stderr[-3000:]
    return found


def test_an_engine_and_the_doctor_agree(tmp_path: Path) -> None:
    folders = {}
    for number, (name, act) in enumerate(
        [*HARMLESS.items(), *((name, act) for name, (act, _) in FAULTS.items())]
    ):
        folders[name] = write_checkpoint(tmp_path / f"{number:02d}" / "model")
        act(folders[name])
    said = loads(*folders.values())
    ends = {name: said[str(folder)] for name, folder in folders.items()}
    errors = {
        name: [
            finding.what
            for finding in read_checkpoint(folder).findings
            if finding.severity is Severity.ERROR
        ]
        for name, folder in folders.items()
    }
    wrong = {n: (ends[n], errors[n]) for n in folders if bool(ends[n]) != bool(errors[n])}
    assert wrong == {}


def test_the_safetensors_package_and_the_doctor_agree(tmp_path: Path) -> None:
    """On headers of which a few bytes were changed, and files that were cut or made longer."""
    draw = random.Random(7)
    whole = safetensors({"a": (4, 8), "b": (3,), "c": (2, 2)})
    size = 8 + int.from_bytes(whole[:8], "little")
    paths = []
    for number in range(MUTANTS):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 3))):
            at = draw.randrange(8, size)
            data[at] = draw.choice(b'0123456789{}[],:"-.eE aBF\x00\xff') if number % 2 else at % 256
        if number % 10 == 0:
            data = data[: draw.randrange(len(data))] if number % 20 else data + b"x"
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(data)
        paths.append(path)
    (tmp_path / "whole.safetensors").write_bytes(whole)
    paths.append(tmp_path / "whole.safetensors")
    said = loads("--headers", *paths)
    wrong = {}
    for path in paths:
        try:
            read_header(path)
            ours = None
        except SafetensorsError as error:
            ours = str(error)
        if bool(ours) != bool(said[str(path)]):
            wrong[path.name] = (ours, said[str(path)], path.read_bytes()[:size])
    assert said[str(paths[-1])] is None
    assert wrong == {}


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And that the model is one which this vLLM runs."""
    folder = write_checkpoint(tmp_path / "model")
    words = ["doctor", "--python", str(PYTHON), "--model", str(folder)]
    main(words)
    assert "[model-" not in capsys.readouterr().out
    (folder / "tokenizer.json").unlink()
    config = folder / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "NobodyForCausalLM"))
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "error[model-tokenizer]: " in out
    assert "error[model-unsupported]: the registry of this vLLM has no NobodyForCausalLM" in out


def test_an_engine_and_the_doctor_agree_on_remote_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It warns where the flag is what lets vLLM load, and notes where the code never runs.

    What does not load either way is an error.
    """
    folders = {}
    for number, (name, act) in enumerate(OWN_CODE.items()):
        folders[name] = write_checkpoint(tmp_path / f"{number}" / "model")
        act(folders[name])
    without, trusting = loads(*folders.values()), loads("--trust", *folders.values())
    needed, warned, noted, ends, errors = {}, {}, {}, {}, {}
    for name, folder in folders.items():
        ends[name] = trusting[str(folder)] is not None
        needed[name] = without[str(folder)] is not None and not ends[name]
        main(["doctor", "--python", str(PYTHON), "--model", str(folder), "--json"])
        found = json.loads(capsys.readouterr().out)["findings"]
        said = {one["severity"] for one in found if one["code"] == "model-remote-code"}
        warned[name], noted[name] = "warning" in said, "note" in said
        codes = {one["code"] for one in found if one["severity"] == "error"}
        errors[name] = any(code.startswith("model-") for code in codes)
    assert sum(needed.values()) > 2
    assert (warned, errors) == (needed, ends)
    assert [name for name, is_noted in noted.items() if is_noted] == [list(OWN_CODE)[-2]]
