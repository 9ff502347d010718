"""The image of the real wheel: it generates, it serves a client outside, it stops when told.

All without network, as a user without rights, on a file system that cannot be written.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.containers import HARDENED, ROOT, Docker
from vllm_patchkit.cli import main
from vllm_patchkit.container.build import BuiltImage, build_image
from vllm_patchkit.container.engine import connect
from vllm_patchkit.container.image import ImagePlan, find_files
from vllm_patchkit.container.wheelfacts import read_wheel_facts
from vllm_patchkit.host.terminal import Console

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(3600)]
TAG = "vllm-patchkit-test:real"
WHEELHOUSE = ROOT / "build" / "wheelhouse-cpu"
START_S = 1200.0
# Three times what engines wait by default: the machine has other work meanwhile.
STOP_S = 30
REQUIREMENTS_MB = 2000
PATCHED_MB = 10
WRITE_CHECKPOINT = (
    "import sys, pathlib; sys.path.insert(0, '/stack');"
    "from smoke.tiny import write_checkpoint;"
    "write_checkpoint(pathlib.Path('/out'))"
)
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def plan(base_image: str) -> ImagePlan:
    """The image's, or a skip where `make container` has not prepared what it is made of."""
    wheel = ROOT / "build" / "wheel-cpu-cp311"
    if not (wheel.is_file() and (WHEELHOUSE / ".ready").is_file()):
        pytest.skip("the wheel and its requirements are not there: make container")
    return ImagePlan(
        files=find_files(ROOT),
        base_image=base_image,
        wheel=read_wheel_facts(ROOT / wheel.read_text().strip()),
        requirements=ROOT / "wheels" / "requirements-cpu.lock",
        flash_attn=None,
        revision="",
        epoch=1759276800,
    )


def build(engine: Docker, plan: ImagePlan, tag: str) -> BuiltImage:
    engine.tags.add(tag)
    return build_image(connect(), plan, [tag], Console(), wheelhouse=WHEELHOUSE)


@pytest.fixture(scope="module")
def image(engine: Docker, plan: ImagePlan) -> BuiltImage:
    return build(engine, plan, TAG)


@pytest.fixture(scope="module")
def foreign(
    engine: Docker, image: BuiltImage, plan: ImagePlan, tmp_path_factory: pytest.TempPathFactory
) -> BuiltImage:
    """The image of somebody's diffs: its requirements are there from the one before."""
    place = tmp_path_factory.mktemp("foreign")
    words = ["--base", "vllm==0.11.0", "--name", "slow_steps", "--python-only"]
    diffs = str(ROOT / "tests" / "data" / "slow_steps")
    assert main(["import", diffs, *words, "--into", str(place)]) == 0
    words = ["--flavor", "cpu", "--python-tag", "cp311", "--out", str(place)]
    assert main(["wheel", "--stack", str(place / "slow_steps"), *words]) == 0
    wheel = read_wheel_facts(next(place.glob("*.whl")))
    return build(engine, replace(plan, wheel=wheel), "vllm-patchkit-test:foreign")


@pytest.fixture(scope="module")
def checkpoint(engine: Docker, image: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Emu3.5 with seeded weights, written by the image's own torch."""
    folder = tmp_path_factory.mktemp("checkpoint")
    folder.chmod(0o777)
    volumes = {
        str(folder): {"bind": "/out", "mode": "rw"},
        str(ROOT / "patches" / "emu3_5"): {"bind": "/stack", "mode": "ro"},
    }
    engine.output(image.digest, ["python", "-c", WRITE_CHECKPOINT], volumes=volumes)
    return folder


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a server that listens on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=600)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def ask(path: Path, method: str, url: str, body: object = None) -> tuple[int, bytes]:
    connection = UnixConnection(path)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, url, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_until_healthy(container: Any, path: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        container.reload()
        assert container.status == "running", container.logs().decode()[-4000:]
        try:
            if ask(path, "GET", "/health")[0] == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(container.logs().decode()[-4000:])


def test_a_patch_weighs_little_beside_what_stays(image: BuiltImage) -> None:
    requirements, unchanged, patched = image.layers[2:]
    assert image.sealed
    assert requirements.size_bytes > REQUIREMENTS_MB * 1_000_000
    assert patched.size_bytes < PATCHED_MB * 1_000_000
    assert patched.size_bytes < unchanged.size_bytes


def test_the_wheels_provenance_and_sbom_are_inside(engine: Docker, image: BuiltImage) -> None:
    code = "from importlib.metadata import files; print(*files('vllm'), sep='\\n')"
    listed = engine.output(image.digest, ["python", "-c", code]).split()
    inside = {name.split(".dist-info/")[1] for name in listed if ".dist-info/" in name}
    assert any(name.startswith("sboms/") for name in inside)
    assert "vllm_patchkit/emu3_5/applied.json" in inside
    assert any("provenance" in name for name in inside)


def test_identify_sees_the_twenty_patches(
    image: BuiltImage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identify", "--image", image.digest, "--stack", "emu3_5"]) == 0
    assert ": 20 of 20 patches" in capsys.readouterr().out


def test_it_serves_a_client_outside_without_network_and_stops_when_told(
    engine: Docker, image: BuiltImage, checkpoint: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    path = tmp_path / "vllm.sock"
    volumes = {
        str(checkpoint): {"bind": "/model", "mode": "ro"},
        str(tmp_path): {"bind": "/run/vllm", "mode": "rw"},
    }
    words = ["/model", "--served-model-name", "tiny", "--uds", "/run/vllm/vllm.sock"]
    words += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
    options = {**HARDENED, "volumes": volumes, "environment": ENVIRONMENT}
    with engine.running(image.digest, words, **options) as container:
        wait_until_healthy(container, path)
        request = {"model": "tiny", "prompt": [1, 30, 31], "max_tokens": 8, "ignore_eos": True}
        status, body = ask(path, "POST", "/v1/completions", request)
        assert status == http.HTTPStatus.OK, body
        assert json.loads(body)["usage"]["completion_tokens"] == 8
        check = ["/opt/vllm/bin/python", "/opt/vllm/share/vllm-patchkit/healthcheck.py"]
        assert container.exec_run(check).exit_code == 0
        started = time.monotonic()
        container.stop(timeout=STOP_S)
        seconds = time.monotonic() - started
        container.reload()
        # 137 is the engine's SIGKILL, after waiting.
        assert container.attrs["State"]["ExitCode"] != 137
        assert seconds < STOP_S


def test_it_stops_while_it_is_still_starting(
    engine: Docker, image: BuiltImage, checkpoint: Path
) -> None:
    volumes = {str(checkpoint): {"bind": "/model", "mode": "ro"}}
    options = {**HARDENED, "volumes": volumes, "environment": ENVIRONMENT}
    with engine.running(image.digest, ["/model", "--enforce-eager"], **options) as container:
        time.sleep(3)
        started = time.monotonic()
        container.stop(timeout=STOP_S)
        assert time.monotonic() - started < STOP_S
        container.reload()
        assert container.attrs["State"]["ExitCode"] != 137


def test_the_cheap_checks_of_a_gpu_run_need_no_gpu(
    image: BuiltImage, capsys: pytest.CaptureFixture[str]
) -> None:
    """On an engine without a GPU runtime: no ``--gpus``, and the rest of the ladder is climbed."""
    words = ["smoke", "--image", image.digest, "--device", "cuda", "--checks-only", "--json"]
    code = main(words)
    report = json.loads(capsys.readouterr().out)
    assert code == 0, report
    assert any("no GPU is here" in text for text in report["warnings"])
    assert "touched modules import" in {check["name"] for check in report["checks"]}


def test_the_smoke_passes_inside(
    engine: Docker, image: BuiltImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["smoke", "--image", image.digest, "--out", str(tmp_path), "--timeout", "1800"]
    code = main(words)
    printed = capsys.readouterr()
    assert code == 0, printed.out + printed.err[-4000:]
    assert (tmp_path / "smoke.json").is_file()
    left = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", "name=vllm-patchkit-smoke"],
        capture_output=True,
        check=True,
    )
    assert left.stdout == b""


def test_the_image_of_any_stack_is_proved_against_another_image(
    image: BuiltImage, foreign: BuiltImage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The foreign stack has no fix of the release's, so what is compared is what both leave."""
    words = ["smoke", "--image", foreign.digest, "--against", image.digest, "--json"]
    asked = ["--architecture", "llama", "--scenario", "llama/one", "--scenario", "llama/batch"]
    asked += ["--timeout", "1800"]
    code = main([*words, *asked])
    printed = capsys.readouterr()
    assert code == 0, printed.out + printed.err[-4000:]
    report = json.loads(printed.out)
    assert [stack["name"] for stack in report["artifact"]["stacks"]] == ["slow_steps"]
    assert [row["state"] for row in report["against"]["rows"]] == ["same", "same"]
    assert report["against"]["subject"]["location"] == image.digest
