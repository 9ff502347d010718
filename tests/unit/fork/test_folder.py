"""Stack folders replaced whole, and stack.toml edited in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vllm_patchkit.fork import folder as module
from vllm_patchkit.fork.folder import read_folder, replace_folder


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


def test_bytecode_is_no_part_of_it_under_either_name(tmp_path: Path) -> None:
    """Python writes ``m.cpython-312.pyc.140052`` and renames it, whoever looks meanwhile."""
    cache = tmp_path / "stack" / "smoke" / "__pycache__"
    cache.mkdir(parents=True)
    for name in ("m.cpython-312.pyc", "m.cpython-312.pyc.140052", "../m.py"):
        (cache / name).write_bytes(b"1")
    assert read_folder(tmp_path / "stack") == {"smoke/m.py": b"1"}


def test_link_to_a_stack_keeps_being_one(tmp_path: Path) -> None:
    replace_folder(tmp_path / "stack", {"a": b"1"})
    (tmp_path / "link").symlink_to("stack")
    replace_folder(tmp_path / "link", {"a": b"2"})
    assert (tmp_path / "link").is_symlink()
    assert read_folder(tmp_path / "stack") == {"a": b"2"}
