"""Which names a patch may carry."""

from __future__ import annotations

import pytest

from vllm_patchkit.diff.paths import is_inside, path_fault


@pytest.mark.parametrize(
    "path",
    [
        "x",
        "vllm/v1/request.py",
        "a b",
        "...",
        "..x",
        ".gitignore",
        ".github/x",
        "xx:y",
        "git~2",
        "é",
        "x" * 255,
        "é" * 127,
        "\udce9" * 255,
    ],
)
def test_plain_names_pass(path: str):
    assert path_fault(path) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "it is empty"),
        ("a\0", "it holds a NUL"),
        ("a\\b", "it holds a backslash"),
        ("/x", "it is absolute"),
        ("Z:x", "it starts with a drive letter"),
        ("a/" + "x" * 256, "it is too long for a file system"),
        ("é" * 128, "it is too long for a file system"),
        ("x/" * 2047 + "xx", "it is too long for a file system"),
        ("a//b", "it has an empty component"),
        ("a/./b", "it has an empty component"),
        ("a/", "it has an empty component"),
        ("a/..", "it leaves the tree with '..'"),
        ("a/.Git/x", "it reaches into .git"),
        (".git. /x", "it reaches into .git"),
        ("GIT~1/x", "it reaches into .git"),
    ],
)
def test_names_that_escape_are_told(path: str, reason: str):
    assert path_fault(path) == reason


@pytest.mark.parametrize(
    ("path", "root", "inside"),
    [
        ("vllm/x.py", "vllm", True),
        ("vllm/x.py", "vllm/", True),
        ("vllm_ascend/x.py", "vllm", False),
        ("vllm", "vllm", False),
        ("setup.py", "vllm", False),
        ("setup.py", "", True),
    ],
)
def test_is_inside(path: str, root: str, inside: bool):
    """A root is a folder, not a prefix of names."""
    assert is_inside(path, root) == inside
