"""Which file of the release a diff's name means."""

from __future__ import annotations

import pytest

from vllm_patchkit.errors import PatchFormatError
from vllm_patchkit.fork.intake.layout import Placed, parse_any, place_files

FILES = {"vllm/envs.py", "vllm/v1/request.py", "vllm/v1/engine/core.py"}
FOLDERS = {"vllm", "vllm/v1", "vllm/v1/engine"}
CHANGE = "@@ -1 +1 @@\n-a\n+b\n"


def place(text: str, *, strip: int | None = None, hint: str | None = None) -> Placed:
    files, _ = parse_any(text.encode(), strip=strip, source="x")
    return place_files(
        files, (FILES | FOLDERS).__contains__, root="vllm", hint=hint, exact=strip is not None
    )


def change(old: str, new: str) -> str:
    return f"--- {old}\n+++ {new}\n{CHANGE}"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (change("a/vllm/envs.py", "b/vllm/envs.py"), "vllm/envs.py"),
        (change("a/envs.py", "b/envs.py"), "vllm/envs.py"),
        (change("vllm/envs.py", "vllm/envs.py"), "vllm/envs.py"),
        (change("envs.py", "envs.py"), "vllm/envs.py"),
        (change("old/vllm/envs.py", "new/vllm/envs.py"), "vllm/envs.py"),
        (change("a/src/vllm/v1/request.py", "b/src/vllm/v1/request.py"), "vllm/v1/request.py"),
        ("diff --git vllm/envs.py vllm/envs.py\n" + change("vllm/envs.py", "vllm/envs.py"),
         "vllm/envs.py"),
        ("diff --git a/v1/request.py b/v1/request.py\n"
         + change("a/v1/request.py", "b/v1/request.py"), "vllm/v1/request.py"),
    ],
)  # fmt: skip
def test_prefixes(text: str, path: str) -> None:
    assert [diff.path for diff in place(text).files] == [path]


@pytest.mark.parametrize("name", ["tests/v1/request.py", "csrc/x.cu", "docs/envs.py", "setup.py"])
def test_folder_beside_the_package_is_not_mistaken_for_it(name: str) -> None:
    placed = place(change(f"a/{name}", f"b/{name}"))
    assert (placed.files, placed.missing) == ((), (name,))


def new_file(name: str) -> str:
    return f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+b\n"


def test_new_file_follows_the_layout_of_the_others() -> None:
    placed = place(change("a/envs.py", "b/envs.py") + new_file("fresh.py"))
    assert [diff.path for diff in placed.files] == ["vllm/envs.py", "vllm/fresh.py"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("vllm/brand/new.py", "vllm/brand/new.py"),
        ("v1/engine/new.py", "vllm/v1/engine/new.py"),
        ("tests/v1/new.py", None),
        ("new.py", None),
    ],
)
def test_new_file_alone_goes_where_a_folder_waits_for_it(name: str, path: str | None) -> None:
    placed = place(new_file(name))
    assert [diff.path for diff in placed.files] == ([path] if path else [])


def test_place_of_the_patch_counts_where_its_names_say_nothing() -> None:
    text = change("/tmp/x/core.py.orig".lstrip("/"), "tmp/x/core.py")
    placed = place(text, hint="v1/engine/core.py")
    assert [diff.path for diff in placed.files] == ["vllm/v1/engine/core.py"]


def test_strip_that_was_asked_for_is_obeyed() -> None:
    text = change("x/y/vllm/envs.py", "x/y/vllm/envs.py")
    assert [diff.path for diff in place(text, strip=2).files] == ["vllm/envs.py"]
    assert place(text, strip=1).missing == ("y/vllm/envs.py",)


def test_malformed_diff_is_an_error() -> None:
    with pytest.raises(PatchFormatError, match="x:5: the file ends inside the hunk of line 3"):
        place("--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n-a\n+b\n")
