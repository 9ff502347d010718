"""What is known before the first layer is said before the first layer."""

from __future__ import annotations

import io
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from support.images import make_patched_wheel
from unit.container.test_build import CI, DONE, FakeEngine, build
from unit.container.test_build import plan as plan
from vllm_patchkit.cli import main
from vllm_patchkit.container.base import ask_python, require_fit
from vllm_patchkit.container.build import build_image
from vllm_patchkit.container.engine import ImageError
from vllm_patchkit.container.image import ImagePlan
from vllm_patchkit.container.wheelfacts import WheelFacts, find_wheel
from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console

ROOT = CI.parent


def test_a_flavor_and_a_wheel_that_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = make_patched_wheel(tmp_path)
    assert main(["image", "--flavor", "cuda", "--wheel", str(wheel)]) == 2
    assert f"{wheel.name} is a cpu wheel, and --flavor cuda was given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tag", "python", "fits"),
    [
        ("cp312-cp312-linux_x86_64", (3, 11), False),
        ("cp312-cp312-linux_x86_64", (3, 12), True),
        ("cp38-abi3-manylinux1_x86_64", (3, 13), True),
        ("py3-none-any", (3, 11), True),
    ],
)
def test_a_wheel_for_another_python_than_the_base_has(
    plan: ImagePlan, tag: str, python: tuple[int, int], fits: bool
) -> None:
    wheel: WheelFacts = replace(plan.wheel, tags=frozenset({tag}))
    if fits:
        require_fit(wheel, python, "base:1")
        return
    with pytest.raises(ImageError, match=r"is for cp312; the base image base:1 has Python 3\.11"):
        require_fit(wheel, python, "base:1")
    engine = FakeEngine(DONE)
    with pytest.raises(ImageError):
        build(engine, replace(plan, wheel=wheel))
    assert engine.context == {}


def test_a_base_without_python_is_named(plan: ImagePlan) -> None:
    engine = FakeEngine(DONE)
    engine.python = 'exec: "python3": executable file not found'
    with pytest.raises(ImageError, match="the base image base:1 has no Python: exec"):
        ask_python(engine, "base:1")


def test_of_several_wheels_the_one_of_the_stack_as_it_is_now(tmp_path: Path) -> None:
    make_patched_wheel(tmp_path, label="tiny.1")
    now = make_patched_wheel(tmp_path, label="tiny.2")
    make_patched_wheel(tmp_path, label="tiny.2.d01234567")
    assert find_wheel(tmp_path, "cuda", label="tiny.2") == now
    with pytest.raises(UsageError, match="several cuda wheels"):
        find_wheel(tmp_path, "cuda", label="tiny.7")


def test_of_wheels_for_several_pythons_the_one_of_the_base(tmp_path: Path) -> None:
    wheel = make_patched_wheel(tmp_path)
    head = "-".join(wheel.name.split("-")[:2])
    for tag in ("cp311", "cp312"):
        os.link(wheel, tmp_path / f"{head}-{tag}-{tag}-linux_x86_64.whl")
    wheel.unlink()
    assert "-cp312-" in find_wheel(tmp_path, "cpu", label="tiny.1", python="cp312").name


def test_arguments_for_docker_are_of_files_that_docker_finds(
    plan: ImagePlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wheel and the lock of the plan lie elsewhere, as with an installed toolkit."""
    with pytest.raises(UsageError, match="docker build would not find"):
        plan.require_context()
    words = ["image", "--print-args", "--files", str(CI), "--wheel", str(plan.wheel.path)]
    assert main(words) == 2
    assert capsys.readouterr().out == ""


def test_a_name_that_moves_on_leaves_an_image_without_one(plan: ImagePlan) -> None:
    said = io.StringIO()
    engine = FakeEngine(DONE)
    build_image(engine, plan, ["name:tag"], Console(err=said))
    assert "docker image prune" not in said.getvalue()
    engine.images["name:tag"] = {"Id": "sha256:former"}
    build_image(engine, plan, ["name:tag"], Console(err=said))
    assert "docker image prune removes them" in said.getvalue()


def sh(*words: str | Path, path: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "HOME": "/nonexistent", **more}
    return subprocess.run(
        list(words), env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with the usual tools, and none that the scripts install or start."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tools = (
        "sh",
        "dirname",
        "basename",
        "id",
        "env",
        "mktemp",
        "sleep",
        "sed",
        "rm",
        "ldconfig",
        "grep",
    )
    for name in tools:
        found = next(
            (place for place in ("/usr/bin", "/bin", "/sbin") if Path(place, name).exists()), None
        )
        if found:
            (folder / name).symlink_to(Path(found, name))
    return folder


def test_make_image_without_an_engine_says_that_and_makes_nothing(
    bare: Path, tmp_path: Path
) -> None:
    """The script asks the command, which has its own interpreter beside it."""
    done = sh(
        "/bin/sh", "ci/make-image.sh", "emu3_5", "cpu",
        path=str(bare), DOCKER_HOST=f"unix://{tmp_path}/none.sock",
    )  # fmt: skip
    assert done.returncode == 3
    assert "no container engine answers" in done.stderr
    assert "debootstrap" not in done.stderr


def test_a_missing_debootstrap_is_named_with_its_package(bare: Path) -> None:
    done = sh("/bin/sh", "ci/base-image.sh", path=str(bare))
    assert done.returncode == 3
    expected = "error: debootstrap is not installed (Debian: apt-get install debootstrap)\n"
    assert done.stderr == expected


def test_docker_build_without_arguments_says_which_are_missing() -> None:
    """The step of the Dockerfile, run by a shell as the engine does."""
    text = (CI / "Dockerfile").read_text().replace("\\\n", "")
    (step,) = (line[4:] for line in text.splitlines() if line.startswith("RUN test -n"))
    done = subprocess.run(["sh", "-c", step], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "WHEEL and REQUIREMENTS are missing" in done.stderr
    given = {"WHEEL": "a", "REQUIREMENTS": "b"}
    assert subprocess.run(["sh", "-c", step], env=given, check=False).returncode == 0
    before = text.partition("RUN test -n")[0]
    assert "COPY" not in before


def test_no_index_in_the_build_names_the_wheelhouse_and_the_mirror(bare: Path) -> None:
    """The virtual environment is not made here: no pip answers, as none can in such a build."""
    (bare / "python3").symlink_to("/bin/true")
    done = sh("/bin/sh", "ci/image/environment.sh", path=str(bare), SOURCE_DATE_EPOCH="0")
    assert done.returncode == 1
    assert "--wheelhouse DIR" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr


def test_packages_can_be_refused(bare: Path) -> None:
    done = sh("/bin/sh", "ci/install-packages.sh", path=str(bare), INSTALL="no")
    assert done.returncode == 0
    assert done.stderr.startswith("not installed (INSTALL=no): docker.io debootstrap")


def test_an_engine_that_runs_is_used_and_left_alone(bare: Path, tmp_path: Path) -> None:
    (bare / "docker").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n')
    (bare / "docker").chmod(0o755)
    done = sh("/bin/sh", "ci/with-engine.sh", "sh", "-c", "exit 7", path=str(bare))
    assert done.returncode == 7
    assert (tmp_path / "asked").read_text() == "version\n"


@pytest.fixture
def server(bare: Path) -> Path:
    """A stand-in for ``vllm``: it listens on its socket until it is told to stop."""
    program = bare / "vllm"
    # A handler that is to end a pause could run just before it, and the pause would never end.
    program.write_text(
        "#!/usr/bin/python3 -S\nimport signal, socket, sys\n"
        "place = sys.argv[sys.argv.index('--uds') + 1]\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "with socket.socket(socket.AF_UNIX) as one:\n"
        "    one.bind(place)\n    print('bound', flush=True)\n"
        "    signal.sigwait({signal.SIGTERM})\nsys.exit(3)\n"
    )
    program.chmod(0o755)
    return program


needs_python = pytest.mark.skipif(
    not Path("/usr/bin/python3").exists(), reason="needs /usr/bin/python3"
)


def start_server(server: Path, place: Path) -> subprocess.Popen[bytes]:
    """Start the script, and wait until its server listens."""
    started = subprocess.Popen(
        ["/bin/sh", CI / "image" / "serve.sh", "/model", "--uds", place],
        env={"PATH": str(server.parent)},
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"bound\n"
    return started


@needs_python
def test_a_unix_socket_goes_with_its_server(server: Path, tmp_path: Path) -> None:
    """Twice: the second start finds the socket of a server that was killed."""
    place = tmp_path / "s.sock"
    with start_server(server, place) as started:
        assert place.is_socket()
        started.kill()
        children = subprocess.run(
            ["pgrep", "-f", "--", f"--uds {place}"], capture_output=True, text=True, check=True
        )
        for pid in children.stdout.split():
            os.kill(int(pid), 9)
    assert place.is_socket()
    with start_server(server, place) as started:
        started.terminate()
        assert started.wait(timeout=60) == 3
    assert not place.exists()


@needs_python
def test_its_status_is_the_servers_whenever_it_is_told_to_stop(
    server: Path, tmp_path: Path
) -> None:
    """Also where the server ends while the script is on its way into the wait, or out of it."""
    found = []
    for _ in range(20):
        with start_server(server, tmp_path / "s.sock") as started:
            started.terminate()
            found.append(started.wait(timeout=60))
    assert found == [3] * 20


def test_a_server_that_is_not_there_is_said(bare: Path, tmp_path: Path) -> None:
    done = sh("/bin/sh", "ci/image/serve.sh", "/model", f"--uds={tmp_path}/s", path=str(bare))
    assert (done.returncode, "vllm: not found" in done.stderr) == (127, True), done.stderr
