"""The commands of docs/getting-started.md that make an environment, with the pips people have.

Only the lock is cut: to the packages over which old pips stumble (a pin for ``uvicorn`` beside one
that needs ``uvicorn[standard]``, pypa/pip#9644). The whole lock is installed by ``make env-cpu``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.pages import FENCE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started.md"
KEPT = ("fastapi", "fastapi-cli", "uvicorn", "click")

pytestmark = [pytest.mark.network, pytest.mark.slow]


def commands() -> list[str]:
    """Return every line of the page's ``sh`` blocks."""
    blocks = [text for language, text in FENCE.findall(PAGE.read_text()) if language == "sh"]
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the page's locks, cut."""
    (tmp_path / "wheels").mkdir()
    for name in ("requirements-cuda.lock", "requirements-cpu.lock"):
        entries = re.split(r"(?m)^(?=\w)", (ROOT / "wheels" / name).read_text())
        kept = [entry for entry in entries if entry.partition("==")[0] in KEPT]
        assert len(kept) == len(KEPT)
        (tmp_path / "wheels" / name).write_text("".join(kept))
    return tmp_path


def follow(place: Path, lines: list[str], **changes: str) -> None:
    """Run lines of the page, the environment being in ``place``."""
    text = "set -e\n" + "\n".join(lines).replace("/opt/vllm", str(place / "vllm"))
    for old, new in changes.items():
        text = text.replace(old, new)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", text], cwd=place, env={**os.environ, "PATH": path}, check=True)


def installed(place: Path) -> set[str]:
    found = (place / "vllm").glob("lib/python3*/site-packages/*.dist-info")
    return {path.name.partition("-")[0].replace("_", "-") for path in found}


@pytest.mark.parametrize("flavor", ["cuda", "cpu"])
def test_with_uv(place: Path, flavor: str) -> None:
    listed = commands()
    start = listed.index(f"WHEEL=$(vllm-patchkit wheel --flavor {flavor})")
    lines = listed[start + 1 : start + 3]
    assert [line.split()[:2] for line in lines] == [["uv", "venv"], ["uv", "pip"]]
    assert f"requirements-{flavor}.lock" in lines[1]
    version = "{}.{}".format(*sys.version_info)
    lines[0] = lines[0].replace("--python 3.12", f"--python {version}")
    follow(place, lines)
    assert installed(place) == set(KEPT)


@pytest.mark.parametrize("pip", ["23.0.1", "23.2.1", ""], ids=["23.0.1", "23.2.1", "newest"])
def test_with_the_pips_that_fresh_pythons_bring(place: Path, pip: str) -> None:
    """Debian 12 has 23.0.1, Python 3.12.1 has 23.2.1."""
    python = shutil.which("python3.11") if pip == "23.0.1" else sys.executable
    if python is None or (pip == "23.0.1" and sys.version_info[:2] >= (3, 12)):
        pytest.skip("pip 23.0 does not run on this Python, and python3.11 is not here")
    subprocess.run([sys.executable, "-m", "venv", place / "vllm"], check=True)
    own = [place / "vllm" / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*own, f"pip=={pip}" if pip else "pip", "--upgrade"], check=True)
    (line,) = (line for line in commands() if line.startswith("/opt/vllm/bin/pip") and "-r" in line)
    follow(place, [line])
    assert set(KEPT) <= installed(place)
