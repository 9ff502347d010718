"""The codes of lint and the page that lists them."""

from __future__ import annotations

from pathlib import Path

from vllm_patchkit.stack.finding import Code

PAGE = Path(__file__).parents[3] / "docs" / "stack-format.md"


def test_every_code_has_a_remedy_and_a_value_of_its_own():
    assert all(code.remedy for code in Code)
    assert len({code.value for code in Code}) == len(Code)
    assert Code.TRAILER_MISSING.fault == "trailer missing"


def test_the_page_lists_every_code_and_no_other():
    """In the order of the enum, with the words that lint prints."""
    rows = [line for line in PAGE.read_text().splitlines() if line[:3] in ("| S", "| H", "| D")]
    rows += [line for line in PAGE.read_text().splitlines() if line[:3] in ("| A", "| L")]
    listed = [row for row in rows if row[3:6].isdigit()]
    assert listed == [f"| {code.value} | {code.fault} | {code.remedy} |" for code in Code]
