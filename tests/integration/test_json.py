"""docs/json.md has every key that the fork commands print with --json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    AUTHOR,
    ENGINE,
    RELEASE_1,
    call,
    changed,
    engine_line,
    make_stack,
    put_release,
    write_tree,
)
from support.json_page import documented_keys, documented_members

STEP_1 = changed(RELEASE_1, ENGINE, engine_line(5), "FIVE = 5\n")
STEP_2 = changed(STEP_1, ENGINE, "FIVE = 5\n", "FIVE = 55\n")
NEXT = changed(RELEASE_1, ENGINE, engine_line(5), "other = 5\n")


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    return make_stack(capsys, home, [("[Core] One", STEP_1), ("[Core] Two", STEP_2)])


def printed(capsys: pytest.CaptureFixture[str], name: str, *words: object) -> dict[str, Any]:
    """Return what a call prints, its keys compared with the row ``name`` of the page."""
    document = json.loads(call(capsys, *words, "--json").out)
    assert isinstance(document, dict)
    assert list(document) == ["format", "command", *documented_keys()[name]], name
    assert document["command"] == words[0]
    return document


def test_the_documented_keys_are_the_printed_ones(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = printed(capsys, "matrix", "matrix", stack)
    assert documented_members("matrix", "overlaps") == list(matrix["overlaps"][0])
    (home / "b").mkdir()
    other = make_stack(capsys, home / "b", [("[Core] Else", STEP_1)])
    printed(capsys, "matrix --with", "matrix", stack, "--with", other)
    printed(capsys, "refresh", "refresh", stack)
    printed(capsys, "refresh --check", "refresh", stack, "--check")
    tree = home / "tree"
    write_tree(tree, changed(STEP_2, ENGINE, engine_line(7), "SEVEN = 7\n"))
    words = ("--from", tree, "-m", "[Core] New\n\nBecause.", "--author", AUTHOR)
    printed(capsys, "new", "new", stack, *words)
    printed(capsys, "undo --list", "undo", stack, "--list")
    printed(capsys, "undo", "undo", stack)


def test_the_keys_of_a_rebase(stack: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_release(home / "cache", "1.1", NEXT)
    tried = printed(capsys, "rebase --dry-run", "rebase", stack, "--dry-run", "--onto", "1.1")
    done = printed(capsys, "rebase", "rebase", stack, "--onto", "1.1")
    for report in (*tried["releases"]["1.1"], *done["reports"]):
        assert documented_members("rebase", "") == list(report)
    (conflict, *_) = (one for report in done["reports"] for one in report["conflicts"])
    assert documented_members("rebase", "conflicts") == list(conflict)
    (hunk, *_) = (one for report in done["reports"] for one in report["hunks"])
    assert documented_members("rebase", "hunks") == list(hunk)
