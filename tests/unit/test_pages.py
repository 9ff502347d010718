"""The shape of the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
COLUMNS = 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_is_wider_than_a_page(page: Path) -> None:
    """A row of a table is one line in Markdown, however long; all else keeps to 100 columns."""
    lines = page.read_text(encoding="utf-8").splitlines()
    wide = [n for n, line in enumerate(lines, 1) if len(line) > COLUMNS and line[:1] != "|"]
    assert not wide, f"{page.name}: wider than {COLUMNS} columns: lines {wide}"
