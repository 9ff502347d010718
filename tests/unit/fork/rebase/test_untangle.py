"""Imports as a set: what a person would have made of the conflict."""

from __future__ import annotations

from vllm_patchkit.fork.rebase.untangle import (
    edit_statements,
    merge_statements,
    split_imports,
    statement_lines,
)

FILE = '"""Doc."""\n# note\nimport a\nfrom b import (\n    c,\n)\n\nX = 1\nimport late\n'


def test_split_is_lossless_and_takes_the_first_block() -> None:
    split = split_imports(FILE)
    assert split is not None
    assert split.head + split.imports + split.rest == FILE
    assert split.imports == "import a\nfrom b import (\n    c,\n)\n"


def test_split_of_what_has_no_imports_or_is_no_python() -> None:
    assert split_imports("X = 1\n") is None
    assert split_imports("def (:\n") is None


def test_both_sides_additions_are_kept_and_removals_obeyed() -> None:
    base = ["from m import a", "from m import b", "import os"]
    merged = merge_statements(
        {
            "base": base,
            "ours": ["from m import b", "from m.new import a", "import os"],
            "theirs": [*base, "from n import z"],
        }
    )
    assert merged is not None
    assert set(merged) == {"from m import b", "from m.new import a", "import os", "from n import z"}


def test_same_addition_on_both_sides_is_one() -> None:
    merged = merge_statements(
        {"base": ["import a"], "ours": ["import a", "import z"], "theirs": ["import a", "import z"]}
    )
    assert merged == ["import a", "import z"]


def test_statements_that_span_lines_are_not_a_set() -> None:
    assert statement_lines("from a import (\n    b,\n)\n") is None
    assert statement_lines("# note\nimport a\nfrom b import c  # noqa: F401\n") == [
        "import a",
        "from b import c  # noqa: F401",
    ]


def test_comments_stay_where_they_are() -> None:
    single = "# first\nimport a\nimport b\n"
    assert edit_statements(single, ["import b", "import c"]) == "# first\nimport b\nimport c\n"
