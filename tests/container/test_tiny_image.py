"""The Dockerfile and the tool, on a wheel of a few kilobytes: every rule that needs no model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from support.containers import HARDENED, ROOT, Docker
from support.images import make_patched_wheel
from support.wheels import make_wheel
from vllm_patchkit.cli import main
from vllm_patchkit.container.build import BuiltImage, build_image
from vllm_patchkit.container.contents import read_image
from vllm_patchkit.container.engine import ImageError, connect
from vllm_patchkit.container.image import ImagePlan, find_files
from vllm_patchkit.container.wheelfacts import read_wheel_facts
from vllm_patchkit.errors import TargetError, UsageError
from vllm_patchkit.host.terminal import Console

pytestmark = [pytest.mark.container, pytest.mark.timeout(3600)]
EPOCH = 1759276800
HEALTH_CHECK = ["/opt/vllm/bin/python", "/opt/vllm/share/vllm-patchkit/healthcheck.py"]
SERVING_S = 300.0
STOP_S = 60


@pytest.fixture(scope="module")
def plan(base_image: str, tmp_path_factory: pytest.TempPathFactory) -> ImagePlan:
    folder = tmp_path_factory.mktemp("plan")
    lock = folder / "requirements-cpu.lock"
    lock.write_text("# nothing is required\n")
    return ImagePlan(
        files=find_files(ROOT),
        base_image=base_image,
        wheel=read_wheel_facts(make_patched_wheel(folder)),
        requirements=lock,
        flash_attn=None,
        revision="c" * 40,
        epoch=EPOCH,
    )


def build(engine: Docker, plan: ImagePlan, tag: str, *, use_cache: bool = True) -> BuiltImage:
    name = f"vllm-patchkit-test:{tag}"
    engine.tags.add(name)
    return build_image(
        connect(), plan, [name], Console(quiet=True), use_cache=use_cache, network="none"
    )


@pytest.fixture(scope="module")
def image(engine: Docker, plan: ImagePlan) -> BuiltImage:
    return build(engine, plan, "first")


def wait_for(log: str, container: object) -> None:
    deadline = time.monotonic() + SERVING_S
    while time.monotonic() < deadline:
        if log in container.logs().decode():  # type: ignore[attr-defined]
            return
        time.sleep(0.1)
    raise AssertionError(f"{log!r} not in {container.logs()!r}")  # type: ignore[attr-defined]


def test_a_second_build_from_nothing_has_the_same_id(
    engine: Docker, plan: ImagePlan, image: BuiltImage
) -> None:
    assert image.sealed
    time.sleep(1.1)
    again = build(engine, plan, "again", use_cache=False)
    assert [layer.digest for layer in again.layers] == [layer.digest for layer in image.layers]
    assert again.digest == image.digest


def test_a_changed_patch_makes_the_last_layer_anew_and_no_other(
    engine: Docker, plan: ImagePlan, image: BuiltImage, tmp_path: Path
) -> None:
    wheel = read_wheel_facts(make_patched_wheel(tmp_path, "second", label="tiny.2.cpu"))
    changed = build(engine, dataclasses.replace(plan, wheel=wheel), "changed")
    before = [layer.digest for layer in image.layers]
    after = [layer.digest for layer in changed.layers]
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    assert changed.digest != image.digest


def test_the_configuration_says_what_the_image_is(
    engine: Docker, plan: ImagePlan, image: BuiltImage
) -> None:
    found = engine.client.images.get(image.digest).attrs
    labels = found["Config"]["Labels"]
    base = engine.client.images.get(plan.base_image).id
    assert labels["org.opencontainers.image.version"] == "0.11.0+tiny.1.cpu"
    assert labels["org.opencontainers.image.revision"] == "c" * 40
    assert labels["org.opencontainers.image.base.digest"] == base
    assert labels["vllm-patchkit.stack"] == "tiny"
    assert labels["vllm-patchkit.stack.digest"] == plan.wheel.stack_digest
    digest = hashlib.sha256(plan.wheel.path.read_bytes()).hexdigest()
    assert labels["vllm-patchkit.wheel.sha256"] == digest
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["Entrypoint"] == [
        *("tini", "--", "sh", "/usr/local/share/vllm-patchkit/serve.sh"),
    ]
    assert found["Config"]["Healthcheck"]["Test"] == ["CMD", *HEALTH_CHECK]
    assert found["Created"] == "2025-10-01T00:00:00Z"


def test_only_upstreams_files_are_in_the_layer_below(engine: Docker, image: BuiltImage) -> None:
    listed = engine.output(
        image.digest,
        ["python", "-c", "from importlib.metadata import files; print(*files('vllm'), sep='\\n')"],
    )
    assert "vllm/patched.py" in listed
    assert "vllm-0.11.0+tiny.1.cpu.dist-info/sboms/vllm.cdx.json" in listed
    code = (
        "from importlib.metadata import files; "
        "print([file for file in files('vllm') if not file.locate().exists()])"
    )
    assert engine.output(image.digest, ["python", "-c", code]) == "[]\n"


def test_the_image_lists_what_it_is_made_of(engine: Docker, image: BuiltImage) -> None:
    printed = engine.output(image.digest, ["cat", "/opt/vllm/share/vllm-patchkit/image.cdx.json"])
    document = json.loads(printed)
    names = {component["purl"] for component in document["components"]}
    installed = engine.output(
        image.digest, ["dpkg-query", "--show", "--showformat", "${Package}\\n"]
    )
    debian = {name.split("/")[2].split("@")[0] for name in names if name.startswith("pkg:deb/")}
    assert debian == set(installed.split())
    assert "pkg:pypi/vllm@0.11.0%2Btiny.1.cpu" in names


def test_everything_has_the_date_of_the_release(engine: Docker, image: BuiltImage) -> None:
    newer = engine.output(
        image.digest,
        ["find", "/", "-xdev", "-newermt", f"@{EPOCH}", "-not", "-path", "/home/vllm*"],
        tmpfs={},
        user="0:0",
    )
    # Made and mounted by the engine when a container starts.
    mounted = {
        "/",
        "/dev",
        "/etc",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/mtab",
        "/etc/resolv.conf",
        "/.dockerenv",
    }
    assert {path for path in newer.split() if not path.startswith(("/proc", "/sys"))} <= mounted


def test_it_serves_as_nobody_in_particular_and_stops_when_told(
    engine: Docker, image: BuiltImage
) -> None:
    with engine.running(image.digest, ["model", "--port", "8123"], **HARDENED) as container:
        wait_for("serving", container)
        assert container.exec_run(["id", "-u"]).output == b"10001\n"
        assert container.exec_run(["touch", "/opt/vllm/x"]).exit_code != 0
        assert container.exec_run(HEALTH_CHECK).exit_code == 0
        started = time.monotonic()
        container.stop(timeout=STOP_S)
        assert time.monotonic() - started < STOP_S
        assert "stopped" in container.logs().decode()
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 0


def test_the_health_check_fails_without_a_server(engine: Docker, image: BuiltImage) -> None:
    options = {**HARDENED, "entrypoint": ["tini", "--", "sleep", "600"]}
    with engine.running(image.digest, **options) as container:
        checked = container.exec_run(HEALTH_CHECK)
    assert checked.exit_code == 1
    assert b"unhealthy: [Errno 111] Connection refused" in checked.output


def test_a_client_outside_reaches_a_published_port(engine: Docker, image: BuiltImage) -> None:
    options = {**HARDENED, "network_mode": "bridge", "ports": {"8000/tcp": ("127.0.0.1", None)}}
    with engine.running(image.digest, ["model"], **options) as container:
        wait_for("serving", container)
        container.reload()
        port = container.ports["8000/tcp"][0]["HostPort"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert json.load(answer)["uid"] == 10001


def test_another_wheel_than_the_planned_one_is_refused(engine: Docker, plan: ImagePlan) -> None:
    wrong = dataclasses.replace(plan.wheel, sha256="0" * 64)
    with pytest.raises(ImageError, match=f"expected sha256 {'0' * 64}, found {plan.wheel.sha256}"):
        build(engine, dataclasses.replace(plan, wheel=wrong), "wrong")


def test_a_wheel_that_is_not_what_it_records_is_refused(
    engine: Docker, plan: ImagePlan, tmp_path: Path
) -> None:
    honest = make_patched_wheel(tmp_path / "honest")
    recorded = read_members(honest)
    recorded["vllm/patched.py"] = b"WORD = 'edited'\n"
    info = "vllm-0.11.0+tiny.1.cpu.dist-info/"
    lying = make_wheel(
        tmp_path / "lying",
        {name: data for name, data in recorded.items() if not name.startswith(info)},
        version="0.11.0+tiny.1.cpu",
        info={
            name.removeprefix(info): data
            for name, data in recorded.items()
            if name.startswith(info) and not name.endswith("RECORD")
        },
    )
    with pytest.raises(ImageError, match=r"not what it records:\n.*vllm/patched\.py: expected"):
        build(engine, dataclasses.replace(plan, wheel=read_wheel_facts(lying)), "lying")


def read_members(wheel: Path) -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_flash_attn_goes_in_if_it_is_the_one_that_was_named(
    engine: Docker, plan: ImagePlan, tmp_path: Path
) -> None:
    name = "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-py3-none-any.whl"
    metadata = b"Metadata-Version: 2.1\nName: flash_attn\nVersion: 2.8.3\n"
    prebuilt = make_wheel(
        tmp_path,
        {"flash_attn/__init__.py": b"SOURCE = 'prebuilt'\n"},
        name="flash_attn",
        version="2.8.3",
        file_name=name,
        info={"METADATA": metadata},
    )
    image = build(engine, dataclasses.replace(plan, flash_attn=prebuilt), "flash")
    printed = engine.output(
        image.digest, ["python", "-c", "import flash_attn; print(flash_attn.SOURCE)"]
    )
    assert printed == "prebuilt\n"


def test_plain_docker_build_makes_the_same_layers(
    engine: Docker, plan: ImagePlan, image: BuiltImage, tmp_path: Path
) -> None:
    """The classic builder's image id holds dates; the layers below it do not."""
    context = tmp_path / "context"
    for file in plan.context_files():
        place = context / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.path.read_bytes())
    arguments = [f"--build-arg={key}={value}" for key, value in plan.build_args().items()]
    tag = "vllm-patchkit-test:plain"
    engine.tags.add(tag)
    options = ["--no-cache", "--network=none", f"--tag={tag}", "--file=ci/Dockerfile"]
    built = subprocess.run(
        ["docker", "build", *options, *arguments, "."],
        cwd=context,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    layers = engine.client.images.get(tag).attrs["RootFS"]["Layers"]
    assert layers[-5:] == [layer.digest for layer in image.layers]


def test_the_command_builds_and_prints_the_digest(
    engine: Docker, plan: ImagePlan, image: BuiltImage, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.tags.add("vllm-patchkit-test:command")
    words = ["image", "--wheel", plan.wheel.path, "--requirements", plan.requirements]
    words += ["--base-image", plan.base_image, "--tag", "vllm-patchkit-test:command"]
    assert main([str(word) for word in [*words, "--network", "none", "--no-pull"]]) == 0
    printed = capsys.readouterr()
    assert engine.client.images.get("vllm-patchkit-test:command").id == printed.out.strip()
    assert "patched members and dist-info" in printed.err


def test_an_image_is_read_without_being_run(
    engine: Docker, base_image: str, image: BuiltImage, tmp_path: Path
) -> None:
    before = {each["Id"] for each in engine.client.api.containers(all=True)}
    with read_image(connect(), image.digest) as read:
        assert read("vllm/patched.py") == b"WORD = 'first'\n"
        assert read("vllm/none.py") is None
        assert read("vllm") is None
    with (
        pytest.raises(TargetError, match="no vllm in the image"),
        read_image(connect(), base_image),
    ):
        pass
    with (
        pytest.raises(UsageError, match="there is no image nobody:1"),
        read_image(connect(), "nobody:1"),
    ):
        pass
    assert {each["Id"] for each in engine.client.api.containers(all=True)} == before


def test_where_a_gpu_is_needed_the_missing_runtime_is_named(
    base_image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    assert main(["smoke", "--image", base_image, "--device", "cuda"]) == 3
    printed = capsys.readouterr().err
    assert "could not select device driver" in printed
    assert "NVIDIA Container Toolkit" in printed
