"""A process that dies at any step leaves a target that recovers; every step is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.crash import (
    MANY,
    die_at,
    do_apply,
    do_revert,
    kill_everywhere,
    sources,
)
from support.crash_fixtures import environment as environment
from support.crash_fixtures import stack as stack
from support.environments import Environment, snapshot
from vllm_patchkit.transaction.disk import Disk

pytestmark = pytest.mark.slow


def test_apply_killed_anywhere_then_applied_is_entirely_new(
    environment: Environment, stack: Path, tmp_path: Path
) -> None:
    cached = snapshot(tmp_path / "cache")
    old = sources(snapshot(environment.site))
    steps, ends = kill_everywhere(do_revert, do_apply, do_apply, environment, stack)
    do_apply(environment, stack, Disk())
    new = sources(snapshot(environment.site))

    assert steps >= 200
    assert all(end == new for end in ends)
    assert {path: new[path] for path in MANY} == MANY
    do_revert(environment, stack, Disk())
    assert sources(snapshot(environment.site)) == old
    assert snapshot(tmp_path / "cache") == cached


def test_apply_killed_anywhere_then_reverted_is_entirely_old(
    environment: Environment, stack: Path
) -> None:
    old = sources(snapshot(environment.site))
    steps, ends = kill_everywhere(do_revert, do_apply, do_revert, environment, stack)
    assert steps >= 200
    assert all(end == old for end in ends)


def test_revert_killed_anywhere_then_reverted_is_entirely_old(
    environment: Environment, stack: Path
) -> None:
    old = sources(snapshot(environment.site))
    do_apply(environment, stack, Disk())
    steps, ends = kill_everywhere(do_apply, do_revert, do_revert, environment, stack)
    assert steps >= 120
    assert all(end == old for end in ends)


def test_revert_killed_anywhere_then_applied_is_entirely_new(
    environment: Environment, stack: Path
) -> None:
    do_apply(environment, stack, Disk())
    new = sources(snapshot(environment.site))
    steps, ends = kill_everywhere(do_apply, do_revert, do_apply, environment, stack)
    assert steps >= 120
    assert all(end == new for end in ends)


def test_a_recovery_killed_anywhere_can_be_recovered_in_the_direction_it_took(
    environment: Environment, stack: Path
) -> None:
    """Half rolled back there is no way forward: 'apply' too goes back first, then applies."""
    old = sources(snapshot(environment.site))
    do_apply(environment, stack, Disk())
    new = sources(snapshot(environment.site))
    do_revert(environment, stack, Disk())
    step = 0
    while True:
        assert die_at(5, do_apply, environment, stack, only="rename")
        if not die_at(step, do_revert, environment, stack):
            break
        (do_apply if step % 2 else do_revert)(environment, stack, Disk())
        assert sources(snapshot(environment.site)) == (new if step % 2 else old)
        do_revert(environment, stack, Disk())
        step += 1
    assert step >= 20
    assert sources(snapshot(environment.site)) == old
