"""Stacks from disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.stacks import METADATA, write_stack
from vllm_patchkit.errors import PatchFormatError, StackError, UsageError
from vllm_patchkit.host import shipped as shipped_files
from vllm_patchkit.stack.read import find_stack, read_files, read_lock, read_stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_stack(tmp_path / "patches" / "tiny")


def test_read_stack(folder: Path):
    """Patches come in series order, with the bytes of their files."""
    stack = read_stack(folder)
    assert stack.name == "tiny"
    assert [patch.number for patch in stack.patches] == [1, 2, 3]
    assert [patch.message.subject for patch in stack.patches][:1] == ["Return three"]
    assert [[diff.path for diff in patch.files] for patch in stack.patches] == [
        ["vllm/engine.py"],
        ["vllm/model.py"],
        ["vllm/engine.py"],
    ]
    assert all(patch.data == (folder / patch.name).read_bytes() for patch in stack.patches)
    assert stack.metadata == (folder / "stack.toml").read_bytes()


def test_the_series_decides_the_order(folder: Path):
    names = (folder / "series").read_text().split()
    (folder / "series").write_text("\n".join(reversed(names)))
    assert [patch.name for patch in read_stack(folder).patches] == names[::-1]


@pytest.mark.parametrize("name", ["stack.toml", "series"])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(StackError, match=f"{name} cannot be read: No such file"):
        read_stack(folder)


def test_a_missing_patch_is_named(folder: Path):
    (folder / "0002-Add-a-model.patch").unlink()
    with pytest.raises(StackError, match=r"series names 0002-Add-a-model.patch, which does not"):
        read_stack(folder)


def test_a_malformed_patch_is_named_with_its_line(folder: Path):
    patch = folder / "0002-Add-a-model.patch"
    patch.write_bytes(patch.read_bytes() + b"+too much\n")
    with pytest.raises(PatchFormatError, match=r"0002-Add-a-model.patch:\d+: .* more lines"):
        read_stack(folder)


def test_files_that_are_not_in_the_series_are_read_too(folder: Path):
    """For lint, which reports them."""
    (folder / "0009-extra.patch").write_bytes(b"x")
    assert "0009-extra.patch" in read_files(folder).patches


def test_a_missing_lock_says_how_to_write_it(folder: Path):
    with pytest.raises(StackError, match=r"lock\.json does not exist") as error:
        read_lock(folder)
    assert error.value.hint == "write it with: vllm-patchkit lock tiny"


def test_find_by_path(folder: Path):
    assert find_stack(folder) == folder
    assert find_stack(str(folder)) == folder


def test_find_by_name_upwards(folder: Path):
    """patches/<name> is looked for in the current folder and all above it."""
    deep = folder.parent.parent / "a" / "b"
    deep.mkdir(parents=True)
    assert find_stack("tiny", start=deep) == folder
    assert find_stack(start=deep) == folder


def test_find_in_the_package(folder: Path, tmp_path: Path, monkeypatch):
    """The stacks that come with the package are found from anywhere."""
    package = tmp_path / "package" / "vllm_patchkit"
    shipped = write_stack(package / "_stacks" / "shipped")
    monkeypatch.setattr(shipped_files, "PACKAGE", package)
    assert find_stack("shipped", start=tmp_path / "nowhere") == shipped


def test_an_unknown_name_lists_what_there_is(folder: Path):
    with pytest.raises(UsageError, match="there is no stack 'other'") as error:
        find_stack("other", start=folder.parent.parent)
    assert "tiny" in (error.value.hint or "")


def test_without_a_name_there_must_be_one(folder: Path):
    write_stack(folder.parent / "second", metadata=METADATA.replace('"tiny"', '"second"'))
    with pytest.raises(UsageError, match="holds several stacks") as error:
        find_stack(start=folder.parent.parent)
    assert error.value.hint == "name one of: second, tiny"
