"""Stack folders replaced whole, and stack.toml edited in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vllm_patchkit.errors import StackError
from vllm_patchkit.fork import folder as module
from vllm_patchkit.fork.folder import edit_metadata, read_folder, replace_folder

TOML = b"""\
# A comment = "kept"
format = 1

[stack]
name = "x"
version = 3
patch-count = 2

[base]
distribution = "vllm"
version = "0.11.0"  # why
root = "vllm"

[[probe]]
patch = "0001"
imports = ["a"]
expression = "'[base]' != 'x'"

[[probe]]
patch = "0002"
imports = []
expression = "True"
"""


def test_only_what_was_asked_for_changes() -> None:
    edited = edit_metadata(TOML, base_version="0.11.1", patch_count=7)
    assert edited == TOML.replace(b'"0.11.0"', b'"0.11.1"').replace(b"count = 2", b"count = 7")


def test_probes_follow_their_patches_and_go_with_them() -> None:
    edited = edit_metadata(TOML, numbers={"0001": None, "0002": "0001"})
    assert edited.count(b"[[probe]]") == 1
    assert b'patch = "0001"\nimports = []' in edited
    swapped = edit_metadata(TOML, numbers={"0001": "0002", "0002": "0001"})
    assert swapped.index(b'"0002"') < swapped.index(b'"0001"')


def test_missing_base_is_an_error() -> None:
    with pytest.raises(StackError, match="version in"):
        edit_metadata(b"[stack]\nversion = 1\n", base_version="2")


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    replace_folder(folder, {"a": b"1", "sub/b": b"2"})
    assert read_folder(folder) == {"a": b"1", "sub/b": b"2"}
    replace_folder(folder, {"a": b"3"})
    assert read_folder(folder) == {"a": b"3"}
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]
    replace_folder(folder, {})
    assert list(tmp_path.iterdir()) == []


def test_replacement_works_without_an_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.ctypes, "CDLL", lambda *args, **kwargs: object())
    replace_folder(tmp_path / "stack", {"a": b"1"})
    replace_folder(tmp_path / "stack", {"b": b"2"})
    assert read_folder(tmp_path / "stack") == {"b": b"2"}
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]


def test_failure_to_write_keeps_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_folder(tmp_path / "stack", {"a": b"1"})

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        replace_folder(tmp_path / "stack", {"a": b"2"})
    assert read_folder(tmp_path / "stack") == {"a": b"1"}
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]


def test_leftover_of_a_killed_command_goes_with_the_next_one(tmp_path: Path) -> None:
    leftover = tmp_path / ".patchkit-stack.abc" / "stack"
    leftover.mkdir(parents=True)
    (leftover / "a").write_bytes(b"half")
    replace_folder(tmp_path / "stack", {"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]


def test_link_to_a_stack_keeps_being_one(tmp_path: Path) -> None:
    replace_folder(tmp_path / "stack", {"a": b"1"})
    (tmp_path / "link").symlink_to("stack")
    replace_folder(tmp_path / "link", {"a": b"2"})
    assert (tmp_path / "link").is_symlink()
    assert read_folder(tmp_path / "stack") == {"a": b"2"}
