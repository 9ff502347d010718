"""The page shows the stack, and nothing in a stack can become markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from support.environments import CHANGES, RELEASE, make_stack
from support.stacks import Change
from vllm_patchkit.cli import main
from vllm_patchkit.cli.report import gather
from vllm_patchkit.report.html import format_html
from vllm_patchkit.report.markdown import escape_cell
from vllm_patchkit.report.model import UPSTREAM_MARKS, upstream_mark
from vllm_patchkit.report.words import mark_pair
from vllm_patchkit.stack.read import read_stack

EVIL = "Close </pre><script>alert(1)</script> & | done"
VOID = {"meta", "br", "!doctype"}


class Page(HTMLParser):
    """Reads a page; remembers its tags, its text, and what was not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [values[key] or "" for key in ("href", "src") if key in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write_report(stack: Path, folder: Path, *more: str) -> str:
    page = folder / "report.html"
    assert main(["report", str(stack), "--html", str(page), "-q", *more]) == 0
    return page.read_text(encoding="utf-8")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    return make_stack(tmp_path / "tiny")


def test_the_page_is_well_formed_and_refers_to_itself_only(stack: Path, tmp_path: Path) -> None:
    page = Page(write_report(stack, tmp_path))
    assert page.open == []
    assert "script" not in page.tags
    assert page.addresses
    assert all(address[1:] in page.ids for address in page.addresses if address[0] == "#")
    assert all(address[0] == "#" for address in page.addresses)


def test_every_patch_and_file_and_changed_line_is_there(stack: Path, tmp_path: Path) -> None:
    text = Page(write_report(stack, tmp_path)).text
    for change in CHANGES:
        assert change.subject in text
    lock = json.loads((stack / "lock.json").read_text())
    assert lock["digest"] in text
    patches = [(stack / name).read_text() for name in (stack / "series").read_text().split()]
    lines = [line[1:] for patch in patches for line in re.findall(r"(?m)^[+-](?![+-]).*", patch)]
    assert len(lines) > len(patches) == len(CHANGES)
    assert [line for line in lines if line not in text] == []


def test_the_same_stack_gives_the_same_page(stack: Path, tmp_path: Path) -> None:
    assert write_report(stack, tmp_path) == write_report(stack, tmp_path)


def test_markup_in_a_patch_stays_text(tmp_path: Path) -> None:
    evil = {**RELEASE, "vllm/engine.py": EVIL.encode() + b"\n"}
    stack = make_stack(tmp_path / "evil", (Change("Open", evil),))
    patch = stack / (stack / "series").read_text().split()[0]
    patch.write_bytes(
        patch.read_bytes().replace(b"Subject: Open", b"Subject: Open <script>alert(2)")
    )
    page = Page(write_report(stack, tmp_path))
    assert "script" not in page.tags
    assert page.open == []
    assert EVIL in page.text
    assert page.text.count("Open <script>alert(2)") >= 2


def test_a_rebase_survey_is_shown(stack: Path, tmp_path: Path) -> None:
    name = (stack / "series").read_text().split()[0]
    outcome = {
        "patch": name, "subject": "s", "status": "conflict", "moves": [], "hunks": [],
        "conflicts": [{"path": "vllm/engine.py", "kind": "content", "line": 7,
                       "upstream": "a", "base": "b", "patch": "c"}],
    }  # fmt: skip
    survey = tmp_path / "rebase.json"
    survey.write_text(json.dumps({"releases": {"0.11.1": [outcome]}}))
    text = Page(write_report(stack, tmp_path, "--rebase", str(survey))).text
    assert "vllm/engine.py:7" in text
    survey.write_text("[]")
    arguments = ["report", str(stack), "--markdown", "--rebase", str(survey)]
    assert main(arguments) == 2


def test_markdown_has_a_row_a_patch(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(stack), "--markdown"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 000")]
    assert [row.split(" | ")[1] for row in rows[: len(CHANGES)]] == [c.subject for c in CHANGES]


@pytest.mark.parametrize("text", ["a | b", "<b>", "a\nb", "\\|"])
def test_a_cell_stays_a_cell(text: str) -> None:
    cell = escape_cell(text)
    assert "\n" not in cell
    assert "<" not in cell
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", cell)) == 0


def test_only_the_words_that_differ_are_marked() -> None:
    old, new = mark_pair("    return run(first, None)", "    return run(second, None)")
    assert [words for changed, words in old if changed] == ["first"]
    assert [words for changed, words in new if changed] == ["second"]
    assert "".join(words for _, words in new) == "    return run(second, None)"


def test_lines_with_nothing_in_common_have_no_marks() -> None:
    assert mark_pair("import os", "x = {1: 2}") == (
        ((False, "import os"),),
        ((False, "x = {1: 2}"),),
    )


def test_what_stands_in_backticks_is_code(stack: Path) -> None:
    report = gather(str(stack))
    first, *others = report.stack.patches
    message = replace(first.message, subject="Keep `a < b` and an ` alone")
    patches = (replace(first, message=message), *others)
    text = format_html(replace(report, stack=replace(report.stack, patches=patches)))
    assert "Keep <code>a &lt; b</code> and an ` alone" in text


def test_paragraphs_flow_and_lists_keep_their_lines(stack: Path) -> None:
    """A phone is narrower than the lines of a commit message."""
    report = gather(str(stack))
    first, *others = report.stack.patches
    body = "One\ntwo.\n\n- a\n- b\n\nSo:\n\n    code\n    more\nend\nend\n"
    patches = (replace(first, message=replace(first.message, body=body)), *others)
    text = format_html(replace(report, stack=replace(report.stack, patches=patches)))
    assert "One two.\n\n- a\n- b\n\nSo:\n\n    code\n    more\nend end" in text


def test_the_contents_lead_to_every_section_that_is_there(stack: Path, tmp_path: Path) -> None:
    page = Page(write_report(stack, tmp_path))
    sections = {name for name in page.ids if not name.startswith(("patch-", "picture"))}
    assert sections == {"series", "files", "lock", "patches"}
    assert {f"#{name}" for name in sections} <= set(page.addresses)


@pytest.mark.parametrize(
    ("trailers", "mark"),
    [
        ((("Forwarded", "no"), ("Origin", "vendor")), "○"),
        ((("Forwarded", "https://example.org/pull/1"),), "◐"),
        ((("Forwarded", "not-needed"),), "□"),
        ((("Applied-Upstream", "0.12.0"), ("Forwarded", "no")), "●"),
        ((("Origin", "backport, https://example.org/1"),), "↓"),
        ((), "·"),
    ],
)
def test_a_mark_says_how_far_upstream_a_patch_is(
    stack: Path, trailers: tuple[tuple[str, str], ...], mark: str
) -> None:
    patch = read_stack(stack).patches[0]
    marked = replace(patch, message=replace(patch.message, trailers=trailers))
    assert upstream_mark(marked) == mark
    assert mark in UPSTREAM_MARKS
