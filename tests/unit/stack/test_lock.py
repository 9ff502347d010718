"""Locks."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from support.stacks import BASE, DEFAULT_CHANGES, Change, make_diff, make_mail, write_stack
from vllm_patchkit.errors import HunkMismatch, StackError
from vllm_patchkit.stack.folder import make_patch
from vllm_patchkit.stack.lock import (
    add_known,
    format_lock,
    make_lock,
    parse_lock,
    record_release,
    stack_digest,
    version_label,
)
from vllm_patchkit.stack.model import Lock, LockedFile, Stack
from vllm_patchkit.stack.read import read_stack

TREES = [BASE, *(change.after for change in DEFAULT_CHANGES)]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return read_stack(write_stack(tmp_path / "tiny"))


@pytest.fixture
def lock(stack: Stack) -> Lock:
    return make_lock(stack, BASE.get)


def locked(path: str, before: dict[str, bytes], after: dict[str, bytes]) -> LockedFile:
    """The entry that the trees themselves give."""
    digests = [
        None if tree.get(path) is None else sha256(tree[path]).hexdigest()
        for tree in (before, after)
    ]
    return LockedFile(path=path, before=digests[0], after=digests[1])


def test_every_patch_and_the_net_effect(stack: Stack, lock: Lock):
    """Before and after each patch, and of the whole stack, by the sha256 of the trees."""
    engine, model = "vllm/engine.py", "vllm/model.py"
    assert [patch.files for patch in lock.patches] == [
        (locked(engine, TREES[0], TREES[1]),),
        (locked(model, TREES[1], TREES[2]),),
        (locked(engine, TREES[2], TREES[3]),),
    ]
    assert lock.files == (locked(engine, TREES[0], TREES[3]), locked(model, TREES[0], TREES[3]))
    assert [patch.sha256 for patch in lock.patches] == [
        sha256(patch.data).hexdigest() for patch in stack.patches
    ]
    assert (lock.stack, lock.version, lock.base_version) == ("tiny", 1, "0.11.0")


def test_files_that_end_as_they_began_are_not_in_the_net_effect(tmp_path: Path):
    changes = (DEFAULT_CHANGES[0], Change("Back again", BASE))
    stack = read_stack(write_stack(tmp_path / "tiny", changes))
    lock = make_lock(stack, BASE.get)
    assert len(lock.patches) == 2
    assert lock.files == ()


def test_a_rename_is_two_files(stack: Stack):
    text = b"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"
    patch = make_patch("0001-Move.patch", make_mail(Change("Move", {}), text))
    lock = make_lock(replace(stack, patches=(patch,)), {"x": b"1"}.get)
    assert lock.files == (
        locked("x", {"x": b"1"}, {"y": b"1"}),
        locked("y", {"x": b"1"}, {"y": b"1"}),
    )


def test_a_base_that_does_not_fit_gives_no_lock(stack: Stack):
    with pytest.raises(HunkMismatch, match=r"0001-Return-three\.patch: vllm/engine\.py"):
        make_lock(stack, {**BASE, "vllm/engine.py": b"other\n"}.get)


def test_the_digest_depends_on_every_byte_and_on_the_order(stack: Stack):
    first, second, third = stack.patches
    variants = [
        stack,
        replace(stack, metadata=stack.metadata + b"\n"),
        replace(stack, patches=(second, first, third)),
        replace(stack, patches=(first, second)),
        replace(stack, patches=(first, second, replace(third, data=third.data + b"\n"))),
        replace(stack, patches=(first, second, replace(third, name="0003-Other.patch"))),
    ]
    assert len({stack_digest(variant) for variant in variants}) == len(variants)


def test_the_digest_is_as_documented(stack: Stack):
    """sha256 over name, NUL, size, NUL, content of stack.toml and each patch."""
    parts = [("stack.toml", stack.metadata)] + [(p.name, p.data) for p in stack.patches]
    data = b"".join(b"%s\0%d\0%s" % (name.encode(), len(body), body) for name, body in parts)
    assert stack_digest(stack) == sha256(data).hexdigest()


def test_the_label_carries_the_digest_until_the_version_is_released(stack: Stack, lock: Lock):
    digest = stack_digest(stack)
    assert version_label(stack, lock) == f"tiny.1.d{digest[:8]}"
    assert version_label(stack, record_release(lock)) == "tiny.1"
    changed = replace(stack, metadata=stack.metadata + b"\n")
    assert version_label(changed, record_release(lock)) == f"tiny.1.d{stack_digest(changed)[:8]}"


def test_a_released_version_is_never_overwritten(lock: Lock):
    """Recording it twice is fine; recording other content asks for a bump."""
    released = record_release(lock)
    assert released.released == {1: lock.digest}
    assert record_release(released) == released
    with pytest.raises(StackError, match="version 1 of tiny was released with digest") as error:
        record_release(replace(released, digest="0" * 64))
    assert error.value.hint == "bump version to 2 in stack.toml, then lock again"


def test_what_was_recorded_is_carried_over(stack: Stack, lock: Lock):
    """Releases and known hashes survive; hashes of files that the stack left go."""
    previous = add_known(record_release(lock), "0.10.2", {"vllm/engine.py": b"old"}.get)
    assert previous.known == {
        "0.10.2": {"vllm/engine.py": sha256(b"old").hexdigest(), "vllm/model.py": None}
    }
    assert make_lock(stack, BASE.get, previous=previous) == previous
    shorter = replace(stack, patches=stack.patches[:1], version=2)
    again = make_lock(shorter, BASE.get, previous=previous)
    assert again.released == {1: lock.digest}
    assert again.known == {"0.10.2": {"vllm/engine.py": sha256(b"old").hexdigest()}}


def test_parse_undoes_format(lock: Lock):
    """The text is deterministic and holds everything."""
    full = add_known(record_release(lock), "0.11.1", BASE.get)
    text = format_lock(full)
    assert parse_lock(text) == full
    assert format_lock(parse_lock(text)) == text
    assert text.endswith(b"}\n")
    assert json.loads(text)["format"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: b"{", "lock.json is not a lock: JSONDecodeError"),
        (lambda text: b"[]", "lock.json is not a lock: TypeError"),
        (lambda text: b"{}", "lock.json is not a lock: KeyError: 'format'"),
        (lambda text: text.replace(b'"format": 1', b'"format": 9'), "lock.json: format 9 is not"),
        (lambda text: text.replace(b'"stack": "tiny"', b'"stack": 3'), "lock.json is not a lock"),
        (lambda text: text.replace(b'"path"', b'"pfad"'), "lock.json is not a lock: KeyError"),
        (lambda text: text.replace(b'"files": [', b'"files": [3,'), "lock.json is not a lock"),
        (lambda text: b"\xff", "lock.json is not a lock"),
    ],
)
def test_what_is_no_lock_is_refused(lock: Lock, change, message: str):
    with pytest.raises(StackError) as error:
        parse_lock(change(format_lock(lock)))
    assert error.value.message.startswith(message)


def test_a_deleted_file_is_locked_as_gone(stack: Stack):
    diff = make_diff({"vllm/x.py": b"1\n"}, {})
    patch = make_patch("0001-Drop.patch", make_mail(Change("Drop", {}), diff))
    lock = make_lock(replace(stack, patches=(patch,)), {"vllm/x.py": b"1\n"}.get)
    assert lock.files == (locked("vllm/x.py", {"vllm/x.py": b"1\n"}, {}),)
