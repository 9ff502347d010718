"""The report of the real stack in a real browser: it draws, and it fits a phone."""

from __future__ import annotations

import re
import zlib
from html import escape
from pathlib import Path

import pytest

from support.browser import browse, needs_chromium
from vllm_patchkit.cli import main

# The narrowest window that chromium opens has 500 points; a frame can be a phone.
MEASURE = """<script>
const svg = document.querySelector("svg"), sheet = svg.getBoundingClientRect();
const wide = svg.parentNode, row = document.querySelector(".cards tbody tr");
parent.document.title = [innerWidth, document.documentElement.scrollWidth,
  document.querySelectorAll("svg circle").length,
  document.querySelectorAll("article").length,
  row.cells[0].getBoundingClientRect().bottom <= row.cells[1].getBoundingClientRect().top ? 1 : 0,
  Math.round(document.querySelector("svg text.patch").getBoundingClientRect().height),
  wide.scrollWidth > wide.clientWidth ? 1 : 0,
  [...svg.querySelectorAll("text")].map(one => one.getBoundingClientRect()).filter(
    box => box.left < sheet.left || box.right > sheet.right || box.top < sheet.top).length].join()
</script>"""

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["report", "emu3_5", "--html", str(path), "-q"]) == 0
    return path


def measure(page: Path, folder: Path, width: int) -> list[int]:
    copy = folder / "measured.html"
    inside = escape(page.read_text(encoding="utf-8") + MEASURE)
    copy.write_text(f'<iframe width="{width}" height="900" style="border:0" srcdoc="{inside}">')
    dom = browse(folder, "--window-size=1400,1000", "--dump-dom", copy.as_uri()).decode()
    title = re.search("<title>([0-9,]+)</title>", dom)
    assert title is not None
    return [int(number) for number in title[1].split(",")]


@pytest.mark.parametrize(("width", "stacked", "scrolled"), [(375, 1, 1), (768, 0, 1), (1280, 0, 0)])
def test_it_fits_a_phone_and_a_desk(
    width: int, stacked: int, scrolled: int, page: Path, tmp_path: Path
) -> None:
    """Nothing runs over the side; on a phone the cells of a row stand under each other.

    A desk shows the whole picture of 42 files, anywhere all of its words are in it.
    """
    inner, scroll, dots, articles, under, letters, scrolls, cut = measure(page, tmp_path, width)
    assert scroll <= inner == width
    assert dots >= articles == 20
    assert under == stacked
    assert letters >= 12
    assert (scrolls, cut) == (scrolled, 0)


def test_a_reader_is_told_before_what_marks_and_the_picture_mean(page: Path) -> None:
    """On a phone the end of a table, or of the picture, is many screens away."""
    text = page.read_text(encoding="utf-8")
    series, picture = text.index("<tbody>"), text.index("<svg")
    assert text.index("Upstream: ○ not forwarded") < series
    assert text.index('id="files"') < text.index("a narrow window scrolls it") < picture


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
