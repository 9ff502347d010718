"""Planning and building an image, against an engine that plays its part in memory."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.images import LAYERS, inspected, make_patched_wheel
from vllm_patchkit.container import engine as engine_module
from vllm_patchkit.container.build import BuiltImage, build_image
from vllm_patchkit.container.engine import ImageError, require_image
from vllm_patchkit.container.image import ImagePlan, find_revision, source_epoch
from vllm_patchkit.container.wheelfacts import find_wheel, read_wheel_facts
from vllm_patchkit.errors import HostError, UsageError, WheelError
from vllm_patchkit.host.terminal import Console

CI = Path(__file__).parents[3] / "ci"


class FakeEngine:
    """An engine with one base image, that builds what it is told to."""

    def __init__(self, lines: Iterable[dict[str, Any]] = ()) -> None:
        self.images: dict[str, dict[str, Any]] = {
            "base:1": {"Id": "sha256:base", "RepoDigests": ["base@sha256:feed"]}
        }
        self.lines = lines
        self.context: dict[str, bytes] = {}
        self.arguments: Mapping[str, str] = {}
        self.network: str | None = None
        self.loads = True
        self.tagged: list[str] = []
        self.served = b""
        self.python = "python 3.11"

    def create_container(self, image: str, **_: Any) -> Mapping[str, Any]:
        return {"Id": "asked"}

    def start(self, container: str) -> None:
        pass

    def wait(self, container: str) -> Mapping[str, Any]:
        return {"StatusCode": 0}

    def logs(self, container: str) -> bytes:
        return self.python.encode()

    def remove_container(self, container: str, *, force: bool, v: bool) -> None:
        pass

    def get_archive(self, container: str, path: str) -> tuple[Iterable[bytes], Mapping[str, Any]]:
        raise AssertionError("nothing is read out of a container here")

    def inspect_image(self, image: str) -> dict[str, Any]:
        from docker.errors import ImageNotFound

        if image not in self.images:
            raise ImageNotFound(f"No such image: {image}")
        return self.images[image]

    def pull(self, repository: str, *, stream: bool, decode: bool) -> Iterable[dict[str, Any]]:
        yield {"error": "manifest unknown"}

    def build(
        self,
        *,
        fileobj: Iterable[bytes],
        buildargs: Mapping[str, str],
        network_mode: str | None,
        **_: Any,
    ) -> Iterator[dict[str, Any]]:
        """Take the whole context, then answer, as docker's own client does."""
        with tarfile.open(fileobj=io.BytesIO(b"".join(fileobj))) as archive:
            for member in archive:
                extracted = archive.extractfile(member)
                assert extracted is not None
                self.context[member.name] = extracted.read()
        self.arguments, self.network = buildargs, network_mode
        if "PIP_FIND_LINKS" in buildargs:
            with urllib.request.urlopen(buildargs["PIP_FIND_LINKS"] + "a.whl") as answer:
                self.served = answer.read()
        self.images["sha256:built"] = inspected(Id="sha256:built")
        return iter(self.lines)

    def load_image(self, data: bytes) -> Iterable[dict[str, Any]]:
        if not self.loads:
            yield {"error": "unexpected archive"}
            return
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            name = archive.getnames()[0]
            extracted = archive.extractfile(name)
            assert extracted is not None
            config = json.load(extracted)
        digest = "sha256:" + name.removesuffix(".json")
        self.images[digest] = {
            "Id": digest,
            "RootFS": {"Layers": config["rootfs"]["diff_ids"]},
            "Config": config["config"],
        }
        yield {"stream": "Loaded image"}

    def history(self, image: str) -> list[dict[str, Any]]:
        return [{"Size": 0}] + [{"Size": size} for size in (7, 6, 5, 4, 3, 2, 1)]

    def tag(self, image: str, repository: str, tag: str) -> bool:
        self.tagged.append(f"{image} {repository}:{tag}")
        return True


@pytest.fixture
def plan(tmp_path: Path) -> ImagePlan:
    lock = tmp_path / "requirements-cpu.lock"
    lock.write_text("# nothing\n")
    return ImagePlan(
        files=CI,
        base_image="base:1",
        wheel=read_wheel_facts(make_patched_wheel(tmp_path)),
        requirements=lock,
        flash_attn=None,
        revision="c" * 40,
        epoch=1759276800,
    )


DONE = [
    {"stream": "Step 1/2 : FROM base"},
    {"stream": " ---> Using cache\n"},
    {"stream": "Step 2/2 : RUN true"},
    {"aux": {"ID": "sha256:built"}},
]


def build(engine: FakeEngine, plan: ImagePlan, **options: Any) -> BuiltImage:
    return build_image(engine, plan, ["name:tag"], Console(quiet=True), **options)


def test_the_wheel_says_what_it_is(plan: ImagePlan) -> None:
    facts = plan.wheel
    assert (facts.version, facts.stack, facts.flavor) == ("0.11.0+tiny.1.cpu", "tiny", "cpu")
    assert facts.sha256 == hashlib.sha256(facts.path.read_bytes()).hexdigest()
    assert facts.stack_digest == hashlib.sha256(b"WORD = 'first'\n").hexdigest()
    assert plan.name == "vllm-tiny:0.11.0-tiny.1.cpu"


def test_the_context_holds_what_the_dockerfile_copies(plan: ImagePlan) -> None:
    engine = FakeEngine(DONE)
    build(engine, plan)
    wheel = f"wheels/out/{plan.wheel.path.name}"
    scripts = {f"ci/image/{path.name}" for path in (CI / "image").iterdir() if path.is_file()}
    assert set(engine.context) == scripts | {
        wheel,
        "wheels/requirements-cpu.lock",
        "ci/Dockerfile",
    }
    assert engine.context[wheel] == plan.wheel.path.read_bytes()
    assert engine.arguments["WHEEL"] == wheel
    assert engine.arguments["BASE_DIGEST"] == "sha256:feed"
    assert engine.arguments["REVISION"] == "c" * 40


def test_every_argument_is_one_that_the_dockerfile_declares(plan: ImagePlan) -> None:
    declared = {
        line.split()[1].partition("=")[0]
        for line in (CI / "Dockerfile").read_text().splitlines()
        if line.startswith("ARG ")
    }
    assert set(plan.build_args("x")) <= declared


def test_a_built_image_is_sealed_and_its_layers_are_listed(plan: ImagePlan) -> None:
    image = build(FakeEngine(DONE), plan)
    assert image.sealed
    assert image.digest not in ("sha256:built", "")
    assert [layer.digest for layer in image.layers] == LAYERS[-5:]
    assert [layer.size_bytes for layer in image.layers] == [3, 4, 5, 6, 7]
    assert (image.steps, image.cached_steps) == (2, 1)


def test_in_a_log_each_thing_is_said_once(plan: ImagePlan) -> None:
    said = io.StringIO()
    build_image(FakeEngine(DONE), plan, ["name:tag"], Console(err=said))
    heads = [line.split()[0] for line in said.getvalue().splitlines()]
    assert heads == ["context:", "[1/2]", "[2/2]"]


def test_an_engine_that_takes_no_bare_configuration_keeps_its_own(plan: ImagePlan) -> None:
    engine = FakeEngine(DONE)
    engine.loads = False
    image = build(engine, plan)
    assert (image.digest, image.sealed) == ("sha256:built", False)
    assert engine.tagged == ["sha256:built name:tag"]


def test_a_failed_step_ends_with_what_it_said(plan: ImagePlan) -> None:
    lines = [
        {"stream": "Step 1/2 : RUN sh a"},
        {"stream": "earlier\n"},
        {"stream": "Step 2/2 : RUN sh b"},
        {"stream": "\x1b[91mno space left\x1b[0m\n"},
        {"error": "The command '/bin/sh -c sh b' returned a non-zero code: 28"},
    ]
    with pytest.raises(ImageError) as caught:
        build(FakeEngine(lines), plan)
    assert caught.value.message == "step 2 of 2 ended with status 28\n  no space left"


def test_a_wheelhouse_is_served_while_the_build_runs(plan: ImagePlan, tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "a.whl").write_bytes(b"wheel")
    engine = FakeEngine(DONE)
    build(engine, plan, wheelhouse=house)
    assert engine.served == b"wheel"
    assert engine.arguments["PIP_NO_INDEX"] == "1"
    assert engine.network == "host"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(engine.arguments["PIP_FIND_LINKS"], timeout=2)


def test_a_base_that_cannot_be_pulled_names_the_way_out() -> None:
    with pytest.raises(HostError, match="nobody:1 is not here and cannot be pulled: manifest"):
        require_image(FakeEngine(), "nobody:1", on_pull=lambda line: None)
    with pytest.raises(UsageError, match="there is no image nobody:1"):
        require_image(FakeEngine(), "nobody:1")


# The SDK leaves the socket of a failed connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_engine_is_this_machines_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(HostError, match="no container engine answers"):
        engine_module.connect()
    gc.collect()


def test_wheels_that_an_image_cannot_take(tmp_path: Path) -> None:
    from support.wheels import make_wheel

    with pytest.raises(UsageError, match="there is no wheel"):
        read_wheel_facts(tmp_path / "none.whl")
    with pytest.raises(WheelError, match="holds no stack"):
        read_wheel_facts(make_wheel(tmp_path / "plain"))
    broken = tmp_path / "vllm-0.11.0-py3-none-any.whl"
    broken.write_bytes(b"PK")
    with pytest.raises(UsageError, match="is not a wheel"):
        read_wheel_facts(broken)


def test_the_default_wheel_is_the_only_one_of_its_flavor(tmp_path: Path) -> None:
    cpu = make_patched_wheel(tmp_path)
    cuda = make_patched_wheel(tmp_path, label="tiny.1")
    assert find_wheel(tmp_path, "cpu") == cpu
    assert find_wheel(tmp_path, "cuda") == cuda
    make_patched_wheel(tmp_path, label="tiny.2")
    with pytest.raises(UsageError, match="several cuda wheels"):
        find_wheel(tmp_path, "cuda")
    with pytest.raises(UsageError, match="there is no cpu wheel"):
        find_wheel(tmp_path / "empty", "cpu")


def test_dates_and_revision_come_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert source_epoch() == 7
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(UsageError, match="not a number"):
        source_epoch()
    assert find_revision(tmp_path) == ""
