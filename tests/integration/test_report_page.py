"""The report of the real stack in a real browser: it draws, and it fits a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from vllm_patchkit.cli import main

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MEASURE = """<script>
document.title = [innerWidth, document.documentElement.scrollWidth,
  document.querySelectorAll("svg circle").length,
  document.querySelectorAll("article").length].join()
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["report", "emu3_5", "--html", str(path), "-q"]) == 0
    return path


def browse(folder: Path, *words: str) -> bytes:
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *words],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def measure(page: Path, folder: Path, width: int) -> list[int]:
    copy = folder / "measured.html"
    copy.write_text(page.read_text(encoding="utf-8") + MEASURE, encoding="utf-8")
    dom = browse(folder, f"--window-size={width},900", "--dump-dom", copy.as_uri()).decode()
    title = re.search("<title>([0-9,]+)</title>", dom)
    assert title is not None
    return [int(number) for number in title[1].split(",")]


@pytest.mark.parametrize("width", [500, 1200])
def test_nothing_runs_over_the_side(width: int, page: Path, tmp_path: Path) -> None:
    """Wide tables and diffs scroll in themselves (500 is the narrowest window chromium opens)."""
    inner, scroll, dots, articles = measure(page, tmp_path, width)
    assert scroll <= inner
    assert dots >= articles == 20


def test_a_screenshot_is_not_empty(page: Path, tmp_path: Path) -> None:
    """A blank page compresses to next to nothing."""
    browse(tmp_path, "--window-size=1200,3000", "--screenshot=page.png", page.as_uri())
    image = (tmp_path / "page.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert len(zlib.compress(image)) > 100_000


def test_it_prints(page: Path, tmp_path: Path) -> None:
    """On paper the diffs wrap: more than a page, and not one page a line."""
    browse(tmp_path, "--print-to-pdf=page.pdf", page.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes()))
    assert 10 < pages < 150
