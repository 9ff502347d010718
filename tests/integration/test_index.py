"""pip and uv install from an index that `release --index` wrote: served, and as a folder."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from support.environments import CHANGES, make_stack
from support.stacks import METADATA
from support.wheels import make_wheel, sha256, write_inputs
from vllm_patchkit.cli import main
from vllm_patchkit.wheel import pins
from vllm_patchkit.wheel.build import build_wheel

TOOLS = Path(sys.executable).parent
REQUESTS: list[str] = []


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    def log_message(self, text: str, *args: object) -> None:
        REQUESTS.append(self.path)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two versions of a patched wheel; what they require is in the same index."""
    (tmp_path / "inputs").mkdir()
    table = write_inputs(tmp_path / "inputs")
    monkeypatch.setattr(pins, "inputs_file", lambda: table)
    monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(tmp_path))
    made = []
    for version in (1, 2):
        metadata = METADATA.replace("version = 1\n", f"version = {version}\n")
        stack = make_stack(tmp_path / f"s{version}" / "tiny", CHANGES[:version], metadata=metadata)
        made.append(build_wheel(stack, out=tmp_path / "out").path)
    return made


@pytest.fixture
def root(tmp_path: Path, wheels: list[Path]) -> Path:
    root = tmp_path / "simple"
    needed = [
        make_wheel(tmp_path, {f"{name}.py": b""}, name=name, version="1",
                   file_name=f"{name}-1-py3-none-any.whl", info={"METADATA": plain(name)})
        for name in ("regex", "xformers")
    ]  # fmt: skip
    assert main(["release", "--index", str(root), str(wheels[0]), *map(str, needed)]) == 0
    assert main(["release", "--index", str(root), str(wheels[1])]) == 0
    return root


def plain(name: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode()


@pytest.fixture
def served(root: Path) -> Iterator[str]:
    REQUESTS.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(tool: str, index: str, prefix: Path, *what: str) -> dict[str, str]:
    """Install into a folder and return name -> version of what is there."""
    platform = "--platform=manylinux1_x86_64"
    if tool == "pip":
        run(
            TOOLS / "python",
            "-m",
            "pip",
            "--isolated",
            "install",
            "--no-cache-dir",
            "--quiet",
            "--target",
            prefix,
            "--only-binary=:all:",
            platform,
            "--index-url",
            index,
            *what,
        )
    else:
        run(
            TOOLS / "uv",
            "pip",
            "install",
            "--no-config",
            "--no-cache",
            "--quiet",
            "--target",
            prefix,
            "--python-platform",
            "x86_64-manylinux_2_28",
            "--default-index",
            index,
            *what,
        )
    return {one.metadata["Name"]: one.version for one in distributions(path=[str(prefix)])}


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize("kind", ["served", "folder"])
def test_pip_and_uv_take_the_newest_build(
    tool: str, kind: str, root: Path, served: str, tmp_path: Path
) -> None:
    index = served if kind == "served" else root.as_uri()
    found = install(tool, index, tmp_path / "env", "vllm")
    assert found == {"vllm": "0.11.0+tiny.2", "regex": "1", "xformers": "1"}
    if kind == "served":
        # The metadata file saved the resolver from opening the wheel.
        assert any(path.endswith(".whl.metadata") for path in REQUESTS)


def test_an_older_build_can_still_be_downloaded(
    served: str, wheels: list[Path], tmp_path: Path
) -> None:
    run(TOOLS / "python", "-m", "pip", "--isolated", "download", "--quiet", "--no-deps",
        "--no-cache-dir", "--only-binary=:all:", "--platform=manylinux1_x86_64", "--dest",
        tmp_path / "got", "--index-url", served, "vllm==0.11.0+tiny.1")  # fmt: skip
    (got,) = (tmp_path / "got").iterdir()
    assert got.read_bytes() == wheels[0].read_bytes()


def test_the_json_page_is_of_pep_691(root: Path, wheels: list[Path]) -> None:
    page = json.loads((root / "vllm" / "index.json").read_bytes())
    assert page["meta"] == {"api-version": "1.1"}
    assert page["name"] == canonicalize_name("vllm")
    assert page["versions"] == ["0.11.0+tiny.1", "0.11.0+tiny.2"]
    by_name = {entry["filename"]: entry for entry in page["files"]}
    assert set(by_name) == {wheel.name for wheel in wheels}
    for wheel in wheels:
        entry = by_name[wheel.name]
        assert entry["hashes"] == {"sha256": sha256(wheel)}
        assert entry["size"] == wheel.stat().st_size
        beside = root / "vllm" / f"{wheel.name}.metadata"
        assert entry["core-metadata"] == {"sha256": sha256(beside)}
        assert str(parse_wheel_filename(entry["filename"])[1]) in page["versions"]
        (statement,) = entry["_statements"]
        assert statement == f"{wheel.name.replace('+', '%2B')}.provenance.json"
    root_page = json.loads((root / "index.json").read_bytes())
    assert [one["name"] for one in root_page["projects"]] == ["regex", "vllm", "xformers"]


def test_a_published_file_never_changes(
    root: Path, wheels: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert main(["release", "--index", str(root), str(wheels[0])]) == 0
    other = make_wheel(tmp_path / "other", {"vllm/__init__.py": b"X = 1\n"},
                       version="0.11.0+tiny.1", file_name=wheels[0].name)  # fmt: skip
    assert main(["release", "--index", str(root), str(other)]) == 2
    assert "published with other bytes" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_what_is_no_wheel_adds_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "vllm-9-py3-none-any.whl"
    bad.write_bytes(b"PK\x05\x06 no")
    good = make_wheel(tmp_path / "g", name="vllm", version="0.11.9")
    assert main(["release", "--index", str(root), str(good), str(bad)]) == 1
    assert "0.11.9" not in (root / "vllm" / "index.html").read_text()
    assert main(["release", "--index", str(root)]) == 2
    assert main(["release"]) == 2
    assert "neither --out nor --index" in capsys.readouterr().err


def test_an_interrupted_addition_is_finished_by_the_next(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the wheel was put there and before a page lists it: still whole."""
    fresh = make_wheel(tmp_path / "g", name="vllm", version="0.11.9")
    with monkeypatch.context() as patched:
        patched.setattr("vllm_patchkit.release.index._write_pages", _die)
        assert main(["release", "--index", str(root), str(fresh)]) == 130
    assert (root / "vllm" / fresh.name).is_file()
    assert fresh.name not in (root / "vllm" / "index.html").read_text()
    assert main(["release", "--index", str(root), str(fresh)]) == 0
    assert fresh.name in (root / "vllm" / "index.html").read_text()


def _die(*_: object) -> int:
    raise KeyboardInterrupt
