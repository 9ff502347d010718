"""What a target keeps of a stack: read whole, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.environments import Environment
from support.tiny_fixtures import environment as environment
from support.tiny_fixtures import stack as stack
from vllm_patchkit import apply
from vllm_patchkit.errors import StackError
from vllm_patchkit.stack.read import read_files, read_lock, read_stack
from vllm_patchkit.targets.find import find_target
from vllm_patchkit.targets.model import Target
from vllm_patchkit.targets.records import (
    read_all_applied,
    read_applied,
    read_recorded_files,
    read_recorded_lock,
    title_of,
)

PACKAGE = {"mine/proof.py": b"PROOF = None\n", "mine/deep/data.txt": b"1\n"}


@pytest.fixture
def target(environment: Environment, stack: Path) -> Target:
    apply(environment.prefix, stack=stack)
    return find_target(environment.prefix, base=read_stack(stack).base)


@pytest.fixture
def folder(target: Target, environment: Environment) -> Path:
    return environment.site / target.state / "tiny"


def test_the_record_is_the_stack_that_was_applied(target: Target, stack: Path) -> None:
    kept, source = read_recorded_files(target, "tiny"), read_files(stack)
    assert (kept.metadata, kept.series, kept.patches) == (
        source.metadata, source.series, source.patches,
    )  # fmt: skip
    assert read_recorded_lock(target, "tiny") == read_lock(stack)
    (applied,) = read_all_applied(target)
    assert applied == read_applied(target, "tiny")
    assert title_of(applied) == "tiny (tiny.1, 4 patches)"


def test_the_package_of_a_stack_is_kept_with_its_folders_and_without_bytecode(
    target: Target, folder: Path
) -> None:
    metadata = (folder / "stack.toml").read_text()
    (folder / "stack.toml").write_text(f'{metadata}\n[smoke]\npackage = "mine"\n')
    for name, data in {**PACKAGE, "mine/__pycache__/proof.cpython-312.pyc": b""}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert read_recorded_files(target, "tiny").own == PACKAGE


def test_what_was_not_applied_has_no_record(target: Target) -> None:
    assert read_applied(target, "other") is None


def test_what_an_interruption_left_is_no_stack(target: Target, folder: Path) -> None:
    (folder.parent / ".new").mkdir()
    (folder.parent / "journal").mkdir()
    assert [one.stack for one in read_all_applied(target)] == ["tiny"]


@pytest.mark.parametrize("name", ["lock.json", "series", "stack.toml"])
def test_a_missing_file_is_named_with_what_to_do(target: Target, folder: Path, name: str) -> None:
    (folder / name).unlink()
    read = read_recorded_lock if name == "lock.json" else read_recorded_files
    with pytest.raises(StackError, match=rf"/{name} is missing from the record of tiny") as missing:
        read(target, "tiny")
    assert "reinstall the base release" in str(missing.value.hint)


def test_a_damaged_record_is_named_by_its_path(target: Target, folder: Path) -> None:
    (folder / "applied.json").write_bytes(b"{")
    with pytest.raises(StackError, match=r"tiny/applied\.json"):
        read_all_applied(target)
