"""The smoke against the environment of the built CPU wheel (`make env-cpu`)."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vllm_patchkit.worker
from vllm_patchkit.worker import lifeline

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("SMOKE_TEST_PYTHON", ROOT / "build/env-cpu/bin/python"))
INSIDE = ROOT / "tests" / "support" / "inside_target.py"
CHECKS = (
    "network",
    "tokenizer",
    "checkpoint",
    "png",
    "vision",
    "remote_code",
    "protobuf",
    "pipeline",
)
# Other tests run beside it; all of it takes minutes.
PATIENCE_S = 1800
WHOLE_PATIENCE_S = 3600

pytestmark = [
    pytest.mark.slow(seconds=500),
    pytest.mark.skipif(not PYTHON.exists(), reason="build/env-cpu is missing: run make env-cpu"),
]


@pytest.mark.parametrize("name", CHECKS)
def test_what_needs_the_targets_libraries(name, tmp_path):
    """Oracle, tokenizer, pictures and sequences against transformers, Pillow and protobuf."""
    run_inside(name, tmp_path)


def run_inside(name, tmp_path):
    """Run a check in the target's interpreter and return the folder it worked in."""
    (tmp_path / "code").mkdir()
    worker = Path(vllm_patchkit.worker.__file__).parent
    (tmp_path / "code" / "patchkit_worker").symlink_to(worker)
    (tmp_path / "code" / "patchkit_own_emu3_5").symlink_to(ROOT / "patches/emu3_5/smoke")
    (tmp_path / "work").mkdir()
    environment = {
        **os.environ,
        # The package itself only for the pipeline, which runs where vllm is.
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "code"), str(ROOT / "tooling")]),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [PYTHON, INSIDE, name, tmp_path / "work"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "work"


def smoke(*words, **options):
    command = [sys.executable, "-m", "vllm_patchkit", "smoke", "--python", PYTHON, *words]
    command += ["--timeout", str(PATIENCE_S)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=WHOLE_PATIENCE_S, **options
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, as_user):
    """What `make smoke` does, by the installed script: what it printed, and its folder."""
    out = tmp_path_factory.mktemp("smoke")
    command = [Path(sys.executable).parent / "vllm-patchkit", "smoke", "--python", PYTHON]
    done = subprocess.run(
        [*command, "--device", "cpu", "--out", out, "--json", "--timeout", str(PATIENCE_S)],
        capture_output=True,
        text=True,
        env=as_user,
        timeout=WHOLE_PATIENCE_S,
    )
    return done, out


def test_the_built_wheel_generates(whole):
    """Every scenario, general and own, ran and was what it has to be."""
    done, _ = whole
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert report["ok"]
    assert (report["missing"], report["problems"]) == ([], [])
    assert all(check["ok"] for check in report["checks"])
    assert {scenario["name"] for scenario in report["scenarios"]} > {
        "qwen3/server", "llama/batch", "qwen3moe/batch", "text", "t2i", "interleaved", "server",
    }  # fmt: skip
    assert all(scenario["ok"] for scenario in report["scenarios"])


def test_generated_images_reach_the_caller(whole):
    """Text to image and text: JSON, one PNG of the right size, the sequence."""
    done, out = whole
    report = json.loads(done.stdout)
    scenarios = {scenario["name"]: scenario for scenario in report["scenarios"]}
    assert scenarios["text"]["oracle"]
    assert scenarios["t2i"]["oracle"]
    assert scenarios["t2i"]["images"] == [{"height": 4, "width": 6}]
    png = (out / "t2i-1.png").read_bytes()
    width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))
    assert (height, width) == (4 * 64, 6 * 64)
    sequence = json.loads((out / "t2i.sequence.json").read_text(encoding="utf-8"))
    assert [segment["type"] for segment in sequence["segments"]] == ["image"]
    written = json.loads((out / "smoke.json").read_text(encoding="utf-8"))
    assert report == {"command": "smoke", **written}


def test_a_given_checkpoint_is_decoded_to_pictures(tmp_path):
    """``--model`` with a vision tokenizer: sampled, no oracle, one decoded PNG beside the grid."""
    folder = run_inside("trained", tmp_path)
    words = ["--model", folder, "--prompt", "A fox.", "--image-size", "4x6", "--dtype", "float32"]
    vision = ["--vision-tokenizer", folder, "--vision-factory", "fake_vision:load"]
    out = tmp_path / "out"
    done = smoke(*words, *vision, "--scenario", "t2i", "--out", out, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert not scenario["oracle"]
    sequence = json.loads((out / "t2i.sequence.json").read_text(encoding="utf-8"))
    assert sequence["question"] == "A fox."
    (image,) = sequence["segments"]
    decoded = (out / "t2i-1-decoded.png").read_bytes()
    assert base64.b64decode(image["png"]) == decoded
    assert decoded != (out / "t2i-1.png").read_bytes()


def test_a_given_checkpoint_of_any_architecture_is_compared_with_transformers(tmp_path):
    """``--model`` of a model that no stack concerns: the general scenarios, named after it."""
    folder = run_inside("mistral", tmp_path)
    done = smoke("--model", folder, "--scenario", "one", "--scenario", "refusals", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert [scenario["name"] for scenario in report["scenarios"]] == ["model/one", "model/refusals"]
    assert report["scenarios"][0]["oracle"]
    refused = smoke("--model", folder, "--scenario", "t2i")
    assert refused.returncode == 2
    assert "there is no scenario 't2i' for this artifact" in refused.stderr


def test_a_port_in_use_is_said_before_anything_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = smoke("--scenario", "server", "--port", str(port))
    assert done.returncode == 3
    assert f"artifact: port {port} is already in use" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_missing_gpu_is_said_before_anything_is_loaded():
    done = smoke("--device", "cuda", env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 3
    assert "artifact: --device cuda: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_killed_while_vllm_serves_it_leaves_nothing(tmp_path):
    """SIGKILL of the command, with engine, server and workers up: no process, port or file.

    The environment that ``--against base`` made beforehand goes as well.
    """
    command = [sys.executable, "-m", "vllm_patchkit", "smoke", "--python", PYTHON]
    process = subprocess.Popen(
        [*command, "--scenario", "server", "--against", "base"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with process:
        said = []
        for line in process.stderr:
            said.append(line)
            if "server: engine ready" in line:
                break
        else:
            pytest.fail("".join(said))
        below = {pid: start_time(pid) for pid in lifeline.descendants(process.pid)}
        sockets_open = listening(below)
        # The test's own folder has too long a name for sockets.
        (folder,) = socket_folders(below)
        process.kill()
    # Guardian, stage, server and engine core at least.
    assert len(below) >= 4, "".join(said)
    assert sockets_open
    deadline = time.monotonic() + 120
    # A process whose first thread ended counts as ended, while its last one still closes sockets.
    while time.monotonic() < deadline and (
        alive(below) or any(tmp_path.iterdir()) or sockets_open & listening_sockets()
    ):
        time.sleep(0.1)
    left = alive(below)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    assert not list(tmp_path.iterdir())
    assert not folder.exists()
    assert not sockets_open & listening_sockets()


def start_time(pid):
    """Return when a process started, which with its id names it for good; None once it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def socket_folders(processes):
    """Return where vLLM was told to put its sockets."""
    found = set()
    for pid in processes:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # It ended meanwhile.
            continue
        for entry in environment.split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == b"VLLM_RPC_BASE_PATH":
                found.add(Path(os.fsdecode(value)))
    return found


def alive(processes):
    return [
        pid
        for pid, started in processes.items()
        if started is not None and start_time(pid) == started
    ]


def listening(processes):
    """Return the TCP sockets, by number, on which one of ``processes`` listens."""
    numbers = set()
    for pid in processes:
        try:
            entries = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for entry in entries:
            try:
                link = str(entry.readlink())
            except OSError:  # Closed meanwhile.
                continue
            if link.startswith("socket:["):
                numbers.add(link[len("socket:[") : -1])
    return numbers & listening_sockets()


def listening_sockets():
    """Return the number of each TCP socket of this machine that somebody could connect to.

    Not its port, which another program may have been given meanwhile.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A"}
