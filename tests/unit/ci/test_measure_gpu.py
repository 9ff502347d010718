"""The script that measures on a GPU host, with a stand-in for the tool that reads its options."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "ci" / "measure-gpu.sh"
STAND_IN = """
import os, sys
from pathlib import Path
from vllm_patchkit.cli import make_parser
words = sys.argv[3:]
assert sys.argv[1:3] == ["-m", "vllm_patchkit"]
args = make_parser(words[0]).parse_args(words)
with open(os.environ["CALLS"], "a") as calls:
    print(*words, file=calls)
if os.environ.get("FAIL", "nothing") in words:
    sys.exit("it failed")
if words[0] == "smoke":
    args.out.mkdir()
    (args.out / "smoke.json").write_text('{"ok": true}')
else:
    args.out.write_text('{"results": []}')
"""


@pytest.fixture
def run(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "stand_in.py").write_text(STAND_IN)

    def program(name, text):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)

    # The script of the window measures on a GPU itself.
    python = tools / "python"
    python.write_text("#!/bin/sh\nprintf '{}' > \"$2\"\n")
    python.chmod(0o755)
    program("python3", f'exec {sys.executable} {tmp_path}/stand_in.py "$@"')

    def measure(*steps, gpus=1, **env):
        program("nvidia-smi", "echo GPU\n" * gpus)
        done = subprocess.run(
            [SCRIPT, tools / "python", tmp_path / "out", *steps],
            env={
                **os.environ,
                "PATH": f"{tools}:{os.environ['PATH']}",
                "CALLS": str(tmp_path / "calls"),
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        calls = tmp_path / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return done, lines

    measure.out = tmp_path / "out"
    return measure


def test_every_step_is_a_command_that_the_tool_takes(run):
    done, calls = run(gpus=2)
    assert done.returncode == 0, done.stdout
    assert len(calls) == 13
    assert all("--device cuda" in call and "/bin/python" in call for call in calls)
    assert sum("--tp 2" in call for call in calls) == 2
    names = {path.stem for path in run.out.glob("*.json")}
    two = {"smoke-two-gpus", "bench-two-gpus"}
    kinds = ("", "-async", "-async-full", "-mixed")
    kinds += ("-fp8", "-fp8-async", "-fp8-marlin", "-fp8-marlin-async")
    benches = {f"bench{kind}" for kind in kinds}
    others = {"smoke", "window", "window-full", "profile-fp8", "profile"}
    assert names == benches | others | two
    assert json.loads((run.out / "smoke.json").read_text()) == {"ok": True}


def test_the_size_of_images_can_be_chosen(run):
    _, calls = run("bench")
    assert "--size 32x32" in calls[0]
    _, calls = run("profile", SIZE="16x16")
    assert "--size 16x16" in calls[0]


def test_one_gpu_is_enough_for_the_others(run):
    done, calls = run()
    assert done.returncode == 0
    assert len(calls) == 11
    assert "smoke-two-gpus: passed over, 1 GPU(s) here" in done.stdout


def test_what_is_done_is_not_repeated_and_what_failed_is(run):
    done, calls = run(FAIL="--beside")
    assert done.returncode == 1
    assert "bench-mixed: FAILED with status 1" in done.stdout
    assert "it failed" in done.stdout
    assert len(calls) == 11
    done, calls = run()
    assert done.returncode == 0
    assert ["--beside" in call for call in calls] == [True]


def test_an_unknown_step_is_a_mistake(run):
    done, calls = run("smokes")
    assert (done.returncode, calls) == (2, [])
    assert "no step smokes" in done.stderr
