"""The shape of the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
COLUMNS = 100


@pytest.mark.parametrize("flavor", ["cuda", "cpu"])
def test_an_environment_is_made_with_the_lock_and_the_wheel_of_one_flavor(flavor: str) -> None:
    """And with a Python that the lock is complete for, by its own first lines."""
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (block,) = (one for one in blocks if f"wheel --flavor {flavor})" in one)
    assert re.findall(r"requirements-(\w+)\.lock", block) == [flavor]
    head = (ROOT / "wheels" / f"requirements-{flavor}.lock").read_text().partition("\naio")[0]
    pythons = set(re.findall(r"--python-version (\S+)|CPython (\S+) too", head))
    assert {"".join(one) for one in pythons} == {"3.11", "3.12"}
    assert "--python 3.12" in block
    assert "a 3.11 or 3.12 by its path" in " ".join(page.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_is_wider_than_a_page(page: Path) -> None:
    """A row of a table is one line in Markdown, however long; all else keeps to 100 columns."""
    lines = page.read_text(encoding="utf-8").splitlines()
    wide = [n for n, line in enumerate(lines, 1) if len(line) > COLUMNS and line[:1] != "|"]
    assert not wide, f"{page.name}: wider than {COLUMNS} columns: lines {wide}"


def test_every_picture_is_shown_with_words() -> None:
    """Words for who does not see it, in a page that is there."""
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for words, target in re.findall(r"!\[([^\]]*)\]\((\S+)\)", page.read_text("utf-8"))
        if words.strip()
    }
    drawn = {*(ROOT / "docs").glob("*.svg"), *(ROOT / "docs" / "performance").glob("*.svg")}
    assert drawn == shown


def test_the_first_page_says_what_emu3_5_is_and_shows_a_run() -> None:
    before, _, tour = (ROOT / "README.md").read_text("utf-8").partition("\n## Five minutes\n")
    assert tour
    assert "**Emu3.5** is" in before
    assert "](docs/run.svg)" in before
    assert "](docs/comparison.md)" in tour
    assert "\n## Beside other tools" not in tour


def test_a_folder_of_diffs_leads_to_the_section_about_it() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    (row,) = re.findall(r"(?m)^\| .*folder of diffs \|(.*)$", index)
    assert re.findall(r"\]\((\S+?)\)", row)[0] == "maintaining.md#a-folder-of-diffs-becomes-a-stack"
