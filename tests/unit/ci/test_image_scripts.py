"""The scripts that run inside an image's build, and in the image, here without an image."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from support.images import make_patched_wheel

CI = Path(__file__).parents[3] / "ci"


def load(name: str) -> ModuleType:
    """Return a script of ci/ as a module."""
    path = CI / name
    spec = spec_from_file_location(path.stem.replace("-", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment into which pip installed the tiny patched wheel."""
    prefix = tmp_path / "opt" / "vllm"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    wheel = make_patched_wheel(tmp_path)
    command = [sys.executable, "-m", "pip", "--python", prefix / "bin" / "python", "install"]
    subprocess.run([*command, "-q", "--no-deps", "--no-compile", "--no-index", wheel], check=True)
    return prefix


def names(folder: Path, prefix: Path) -> set[str]:
    """Return the files below ``folder``, as they lie in the environment's site-packages."""
    site = folder / next((prefix / "lib").glob("python3*/site-packages")).relative_to("/")
    return {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}


def test_the_patched_file_and_the_dist_info_are_apart_from_the_rest(
    prefix: Path, tmp_path: Path
) -> None:
    out = tmp_path / "split"
    counts = load("image/split.py").split(prefix, out)
    info = "vllm-0.11.0+tiny.1.cpu.dist-info/"
    assert names(out / "base", prefix) == {
        "vllm/__init__.py",
        "vllm/server.py",
        "vllm/untouched.py",
    }
    ours = names(out / "stack", prefix)
    assert {name for name in ours if not name.startswith(info)} == {"vllm/patched.py"}
    assert info + "RECORD" in ours
    assert (out / "stack" / prefix.relative_to("/") / "bin" / "vllm").is_file()
    assert counts["base"] == 3
    site = next((prefix / "lib").glob("python3*/site-packages"))
    assert [path for path in site.rglob("*") if path.is_file()] == []


def test_an_edited_file_stops_the_split(prefix: Path, tmp_path: Path) -> None:
    patched = next(prefix.glob("lib/python3*/site-packages/vllm/patched.py"))
    patched.write_text("WORD = 'edited'\n")
    with pytest.raises(SystemExit, match=r"vllm/patched\.py: expected [0-9a-f]{64}, found"):
        load("image/split.py").split(prefix, tmp_path / "split")


def test_an_unpatched_vllm_is_refused(prefix: Path, tmp_path: Path) -> None:
    next(
        prefix.glob("lib/python3*/site-packages/*.dist-info/vllm_patchkit/*/applied.json")
    ).unlink()
    with pytest.raises(SystemExit, match="the wheel holds no stack"):
        load("image/split.py").split(prefix, tmp_path / "split")


def test_the_list_of_parts_is_sorted_and_says_no_time(prefix: Path, tmp_path: Path) -> None:
    sbom = load("image/sbom.py")
    status = tmp_path / "status"
    status.write_text(
        "Package: tini\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.19.0-1+b3\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    site = str(next((prefix / "lib").glob("python3*/site-packages")))
    components = sbom.list_python([site]) + sbom.list_debian(status)
    document = json.loads(sbom.format_bom(components[::-1]))
    assert [component["purl"] for component in document["components"]] == [
        "pkg:deb/debian/tini@0.19.0-1%2Bb3?arch=amd64",
        "pkg:pypi/vllm@0.11.0%2Btiny.1.cpu",
    ]
    assert sbom.format_bom(components) == sbom.format_bom(components[::-1])
    assert set(document) == {"bomFormat", "specVersion", "version", "components"}
    assert sbom.list_debian(tmp_path / "none") == []


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def unix_server(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "s"
    with socketserver.UnixStreamServer(str(path), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["tini", "--", "vllm", "serve", "m"], {}),
        (["serve", "--port", "81", "--host=::"], {"port": "81", "host": "::"}),
        (["serve", "--uds", "/run/s"], {"uds": "/run/s"}),
        (["serve", "--port"], {"port": ""}),
    ],
)
def test_the_health_check_asks_where_the_server_listens(
    words: list[str], options: dict[str, str]
) -> None:
    assert load("image/healthcheck.py").read_options(words) == options


def test_the_health_check_speaks_over_a_unix_socket(unix_server: Path) -> None:
    assert load("image/healthcheck.py").is_healthy({"uds": str(unix_server)}) is True


def test_the_health_check_of_a_port_nobody_listens_on_fails() -> None:
    with pytest.raises(OSError, match="refused"):
        load("image/healthcheck.py").is_healthy({"host": "0.0.0.0", "port": "9"})


def test_the_closing_line_adds_up_every_report(tmp_path: Path) -> None:
    report = (
        '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'
    )
    (tmp_path / "a.xml").write_text(report.format(10, 1, 2, 3))
    (tmp_path / "b.xml").write_text(report.format(5, 0, 0, 0))
    printed = subprocess.run(
        [sys.executable, CI / "total.py", tmp_path], capture_output=True, text=True, check=True
    )
    assert printed.stdout == "9 passed, 3 failed, 3 skipped\n"


def test_requirements_that_cannot_be_installed_name_disk_and_index(tmp_path: Path) -> None:
    """With a pip that fails, in a folder that stands for the image's /opt/vllm."""
    programs, opt = tmp_path / "bin", tmp_path / "opt"
    programs.mkdir()
    made = f'mkdir -p {opt}/bin; printf "#!/bin/sh\\nexit 1\\n" > {opt}/bin/python'
    (programs / "python3").write_text(f"#!/bin/sh\n{made}; chmod 755 {opt}/bin/python\n")
    (programs / "python3").chmod(0o755)
    text = (CI / "image" / "environment.sh").read_text().replace("/opt/vllm", str(opt))
    path = f"{programs}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "if no space is left: a build takes 17 GB where the engine" in done.stderr
    assert "if no index can be reached from the build" in done.stderr


def test_a_wheelhouse_keeps_what_its_lock_names(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("typing-extensions==4.15.0 \\\n    --hash=sha256:0\n    # via torch\n")
    for name in ("typing_extensions-4.15.0", "typing_extensions-4.14.0", "torch-2.8.0"):
        (tmp_path / f"{name}-py3-none-any.whl").touch()
    load("fetch-wheels.py").remove_others(lock, tmp_path)
    left = [path.name for path in tmp_path.glob("*.whl")]
    assert left == ["typing_extensions-4.15.0-py3-none-any.whl"]


def test_an_interpreter_is_found_by_release_or_its_absence_is_said() -> None:
    here = "{}.{}".format(*sys.version_info[:2])
    found = subprocess.run(
        [CI / "find-python.sh", here], capture_output=True, text=True, check=True
    ).stdout.strip()
    asked = [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == here
    missing = subprocess.run(
        [CI / "find-python.sh", "3.99"], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 3
    assert "no Python 3.99 on PATH" in missing.stderr
    assert "uv python install 3.99" in missing.stderr


def test_a_python_that_uv_installed_is_found(tmp_path: Path) -> None:
    """Where ``uv python install`` puts it; no other one is here."""
    place = tmp_path / "cpython-3.99.1-linux-x86_64-gnu" / "bin" / "python3.99"
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\necho 3.99 {place}\n")
    place.chmod(0o755)
    environment = {**os.environ, "UV_PYTHON_INSTALL_DIR": str(tmp_path)}
    argv = [CI / "find-python.sh", "3.99"]
    found = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == f"{place}\n"
