"""Verdicts on a hunk, from lines alone."""

from __future__ import annotations

import pytest

from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.fork.rebase.verdict import Text, judge_hunk

OLD = "alpha = 1\nbeta = 2\ngamma = 3\ndelta = 4\n"
ADDED = "a_line_that_tells = something(1)\n"
INSERT = f" alpha = 1\n beta = 2\n+{ADDED} gamma = 3\n delta = 4\n"
REPLACE = " alpha = 1\n-beta = 2\n+beta = compute_something(2)\n gamma = 3\n delta = 4\n"
REMOVE = " alpha = 1\n-beta = 2\n gamma = 3\n delta = 4\n"
REINDENTED_FROM = "def f(s):\n    for x in range(9):\n        s = 2\n    return s\n"
REINDENT = " def f(s):\n     for x in range(9):\n-        s = 2\n+    s = 2\n     return s\n"
SHORT = " alpha = 1\n beta = 2\n+pass\n gamma = 3\n delta = 4\n"


def judge(lines: str, target: str, result: str | None = None, elsewhere: str | None = None) -> str:
    rows = lines.splitlines()
    old, new = (sum(row[0] in kinds for row in rows) for kinds in (" -", " +"))
    text = f"--- a/x.py\n+++ b/x.py\n@@ -1,{old} +1,{new} @@\n{lines}"
    (diff,) = parse_diff(text.encode())
    return judge_hunk(
        diff.hunks[0],
        path="x.py",
        number=1,
        target=Text.of(target.encode()),
        result=None if result is None else Text.of(result.encode()),
        search=lambda run: elsewhere,
    ).verdict


AFTER_INSERT = OLD.replace("gamma", f"{ADDED}gamma")
AFTER_REPLACE = OLD.replace("beta = 2", "beta = compute_something(2)")


@pytest.mark.parametrize(
    ("lines", "target", "verdict"),
    [
        (INSERT, OLD, "still needed"),
        (INSERT, AFTER_INSERT, "merged upstream"),
        (INSERT, OLD + ADDED, "merged upstream"),
        (REPLACE, OLD, "still needed"),
        (REPLACE, AFTER_REPLACE, "merged upstream"),
        (REPLACE, OLD + "beta = compute_something(2)\n", "still needed"),
        (REMOVE, OLD, "still needed"),
        (REMOVE, OLD.replace("beta = 2\n", ""), "merged upstream"),
        (REMOVE, OLD.replace("beta = 2\n", "beta = 3\n"), "still needed"),
        # A line that is everywhere proves nothing without its neighbours.
        (SHORT, OLD + "def f():\n    pass\n", "still needed"),
        (SHORT, OLD.replace("gamma", "pass\ngamma"), "merged upstream"),
        # Blank lines are upstream's to change; indentation makes another program in Python.
        (INSERT, AFTER_INSERT.replace("\n", "\n\n"), "merged upstream"),
        (INSERT, AFTER_INSERT.replace("\n", "\n    "), "only white space differs"),
        (REINDENT, REINDENTED_FROM, "still needed"),
        (REINDENT, REINDENTED_FROM.replace("        s = 2", "    s = 2"), "merged upstream"),
    ],
)
def test_verdict(lines: str, target: str, verdict: str) -> None:
    assert judge(lines, target) == verdict


def test_addition_that_upstream_has_elsewhere_applies_twice() -> None:
    target = OLD + ADDED
    assert judge(INSERT, target, result=AFTER_INSERT + ADDED) == "would apply twice"
    assert judge(INSERT, target, result=target) == "merged upstream"


def test_some_of_several_changes_are_upstream() -> None:
    lines = (
        f" alpha = 1\n+{ADDED} beta = 2\n gamma = 3\n+another_telling_line = other(2)\n delta = 4\n"
    )
    assert judge(lines, OLD.replace("beta", f"{ADDED}beta")) == "partly merged"


def test_lines_that_are_in_another_file_now() -> None:
    assert judge(REPLACE, "something = else\n", elsewhere="y.py") == "moved to another file"
    assert judge(REPLACE, OLD, elsewhere="y.py") == "still needed"
