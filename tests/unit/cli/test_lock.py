"""vllm-patchkit lock."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from support.stacks import BASE, METADATA, write_stack, write_tree
from vllm_patchkit.cli import main
from vllm_patchkit.stack.lock import stack_digest
from vllm_patchkit.stack.read import read_lock, read_stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_stack(tmp_path / "patches" / "tiny")


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(write_tree(tmp_path / "base"))


def make_site(folder: Path, version: str, engine: bytes) -> Path:
    """Return a site-packages folder that holds another release."""
    write_tree(folder, {**BASE, "vllm/engine.py": engine})
    info = folder / f"vllm-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    (info / "RECORD").write_text("vllm/__init__.py,,\n")
    return folder


def test_the_lock_is_written_once(folder: Path, base: str, capsys):
    """A second run changes nothing and says so."""
    label = f"tiny.1.d{stack_digest(read_stack(folder))[:8]}"
    assert main(["lock", str(folder), "--base", base]) == 0
    assert capsys.readouterr().out == (
        f"{folder}/lock.json is written: 3 patches, 2 files, label {label}\n"
    )
    before = (folder / "lock.json").stat()
    assert main(["lock", str(folder), "--base", base]) == 0
    assert "lock.json is up to date: 3 patches, 2 files" in capsys.readouterr().out
    assert (folder / "lock.json").stat().st_ino == before.st_ino


def test_check_writes_nothing(folder: Path, base: str, capsys):
    assert main(["lock", str(folder), "--base", base, "--check"]) == 1
    assert "lock.json is out of date" in capsys.readouterr().out
    assert not (folder / "lock.json").exists()
    main(["lock", str(folder), "--base", base])
    assert main(["lock", str(folder), "--base", base, "--check"]) == 0


def test_json(folder: Path, base: str, capsys):
    assert main(["lock", str(folder), "--base", base, "--json", "--release"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "format": 1,
        "command": "lock",
        "path": str(folder / "lock.json"),
        "changed": True,
        "label": "tiny.1",
        "digest": stack_digest(read_stack(folder)),
    }


def test_known_releases_are_kept(folder: Path, base: str, tmp_path: Path):
    """--known records the hashes of other releases; the next lock carries them over."""
    site = make_site(tmp_path / "site", "0.10.2", b"old\n")
    assert main(["lock", str(folder), "--base", base, "--known", str(site)]) == 0
    expected = {"0.10.2": {"vllm/engine.py": sha256(b"old\n").hexdigest(), "vllm/model.py": None}}
    assert read_lock(folder).known == expected
    metadata = (folder / "stack.toml").read_text()
    (folder / "stack.toml").write_text(metadata.replace("A stack", "The stack"))
    assert main(["lock", str(folder), "--base", base]) == 0
    assert read_lock(folder).known == expected


def test_a_tree_does_not_say_which_release_it_is(folder: Path, base: str, capsys):
    assert main(["lock", str(folder), "--base", base, "--known", base]) == 2
    assert "does not say which version it is" in capsys.readouterr().err
    assert not (folder / "lock.json").exists()


def test_a_release_is_recorded_once(folder: Path, base: str, capsys):
    """Other content under a recorded version is an error that asks for a bump."""
    assert main(["lock", str(folder), "--base", base, "--release"]) == 0
    first = stack_digest(read_stack(folder))
    assert read_lock(folder).released == {1: first}
    metadata = (folder / "stack.toml").read_text()
    (folder / "stack.toml").write_text(metadata.replace("A stack", "The stack"))
    locked = (folder / "lock.json").read_bytes()
    assert main(["lock", str(folder), "--base", base, "--release"]) == 1
    captured = capsys.readouterr()
    assert "version 1 of tiny was released with digest" in captured.err
    assert "hint: bump version to 2 in stack.toml, then lock again" in captured.err
    assert (folder / "lock.json").read_bytes() == locked
    assert METADATA.count("version = 1") == 1
    bumped = metadata.replace("A stack", "The stack").replace("version = 1", "version = 2")
    (folder / "stack.toml").write_text(bumped)
    assert main(["lock", str(folder), "--base", base, "--release"]) == 0
    assert read_lock(folder).released == {1: first, 2: stack_digest(read_stack(folder))}


def test_a_base_that_does_not_fit_writes_no_lock(folder: Path, tmp_path: Path, capsys):
    other = write_tree(tmp_path / "other", {**BASE, "vllm/engine.py": b"other\n"})
    assert main(["lock", str(folder), "--base", str(other)]) == 1
    captured = capsys.readouterr()
    assert "0001-Return-three.patch: vllm/engine.py: hunk 1" in captured.err
    assert "give the base it was cut from" in captured.err
    assert not (folder / "lock.json").exists()


def test_a_damaged_lock_is_not_overwritten(folder: Path, base: str, capsys):
    """A merge conflict in it must not cost the recorded releases."""
    conflict = b"<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n"
    (folder / "lock.json").write_bytes(conflict)
    assert main(["lock", str(folder), "--base", base]) == 1
    captured = capsys.readouterr()
    assert "lock.json is not a lock" in captured.err
    assert "restore it from version control" in captured.err
    assert (folder / "lock.json").read_bytes() == conflict


def test_another_version_as_base_is_noted(folder: Path, tmp_path: Path, capsys):
    """Content decides, but the difference is told."""
    site = make_site(tmp_path / "site", "0.11.1", BASE["vllm/engine.py"])
    assert main(["lock", str(folder), "--base", str(site)]) == 0
    assert "is vllm 0.11.1; the stack is cut from vllm 0.11.0" in capsys.readouterr().err


def test_help_has_an_example(capsys):
    for command in ("lint", "lock"):
        assert main([command, "--help"]) == 0
        assert f"\n  vllm-patchkit {command} " in capsys.readouterr().out
