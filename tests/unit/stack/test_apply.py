"""A series applied in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.stacks import BASE, DEFAULT_CHANGES, write_stack
from vllm_patchkit.errors import HunkMismatch
from vllm_patchkit.stack.apply import apply_patches, revert_patches, step_patches
from vllm_patchkit.stack.model import Stack
from vllm_patchkit.stack.read import read_stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return read_stack(write_stack(tmp_path / "tiny"))


def test_every_step(stack: Stack):
    """Each step holds the touched files before and after it; the tree is what was meant."""
    tree = dict(BASE)
    steps = list(step_patches(stack.patches, BASE.get))
    assert [step.patch.number for step in steps] == [1, 2, 3]
    for step, change in zip(steps, DEFAULT_CHANGES, strict=True):
        assert {path: tree.get(path) for path in step.before} == step.before
        tree.update({path: data for path, data in step.after.items() if data is not None})
        assert tree == change.after


def test_a_prefix_and_the_whole(stack: Stack):
    """The net effect has each file once."""
    last = DEFAULT_CHANGES[-1].after
    assert apply_patches(stack.patches, BASE.get) == {
        "vllm/engine.py": last["vllm/engine.py"],
        "vllm/model.py": last["vllm/model.py"],
    }
    assert apply_patches(stack.patches[:1], BASE.get) == {
        "vllm/engine.py": DEFAULT_CHANGES[0].after["vllm/engine.py"]
    }


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_revert_goes_back(stack: Stack, count: int):
    """Any prefix, taken off again, leaves the base."""
    patches = stack.patches[:count]
    patched = {**BASE, **apply_patches(patches, BASE.get)}
    reverted = {**patched, **revert_patches(patches, patched.get)}
    assert {path: data for path, data in reverted.items() if data is not None} == BASE


def test_errors_name_the_patch(stack: Stack):
    tree = {**BASE, "vllm/engine.py": b"other\n"}
    with pytest.raises(HunkMismatch, match=r"^0001-Return-three.patch: vllm/engine.py: hunk 1 "):
        apply_patches(stack.patches, tree.get)
