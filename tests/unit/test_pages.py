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
