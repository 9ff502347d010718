"""A process that dies at any step leaves a target that recovers to entirely old or entirely new."""

from __future__ import annotations

import errno
import os
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
from support.environments import RELEASE, STEP_4, Environment, snapshot
from vllm_patchkit.cli import main
from vllm_patchkit.errors import HostError
from vllm_patchkit.operations.targets import apply, status
from vllm_patchkit.transaction.disk import Disk
from vllm_patchkit.transaction.journal import hold

# Every step is tried by tests/integration/test_crash_everywhere.py.
STRIDE = 17


def test_apply_killed_then_applied_is_new_and_killed_then_reverted_is_old(
    environment: Environment, stack: Path
) -> None:
    old = sources(snapshot(environment.site))
    steps, ends = kill_everywhere(do_revert, do_apply, do_apply, environment, stack, stride=STRIDE)
    assert steps >= 200
    do_apply(environment, stack, Disk())
    new = sources(snapshot(environment.site))
    assert {path: new[path] for path in MANY} == MANY
    assert all(end == new for end in ends)
    do_revert(environment, stack, Disk())
    _, ends = kill_everywhere(do_revert, do_apply, do_revert, environment, stack, stride=STRIDE)
    assert all(end == old for end in ends)


def test_status_tells_of_an_interrupted_apply(environment: Environment, stack: Path) -> None:
    """Two files are new, the others old: neither pristine nor applied."""
    assert die_at(2, do_apply, environment, stack, only="rename")
    interruption = status(environment.prefix, stack=stack).interruption
    assert interruption is not None
    assert interruption.operation == "apply"
    assert not interruption.running


def test_an_interruption_is_told_from_a_process_at_work(
    environment: Environment, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert die_at(2, do_apply, environment, stack, only="rename")
    words = ["status", str(environment.prefix), "--stack", str(stack)]
    assert main(words) == 1
    assert "interrupted: apply tiny.1; 'vllm-patchkit apply' or" in capsys.readouterr().out
    with hold(environment.site):
        assert main(words) == 1
    assert "in progress: apply tiny.1, by another process" in capsys.readouterr().out
    assert main(["apply", *words[1:], "--dry-run"]) == 1
    assert "hint: without --dry-run it is finished first" in capsys.readouterr().err
    assert main(["apply", *words[1:]]) == 0
    assert "the interrupted transaction was completed" in capsys.readouterr().out


@pytest.mark.parametrize("step", range(0, 60, 7))
def test_a_full_disk_changes_nothing(environment: Environment, stack: Path, step: int) -> None:
    """ENOSPC at any write is reported as such, and the target is as it was."""
    old = snapshot(environment.site)
    count = 0

    def fault(kind: str, path: Path) -> None:
        nonlocal count
        if kind in ("create", "write", "mkdir", "link"):
            count += 1
            if count > step:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(HostError, match=r"no space left for .*; nothing was changed"):
        apply(environment.prefix, stack=stack, disk=Disk(fault=fault))
    assert sources(snapshot(environment.site)) == sources(old)


@pytest.mark.parametrize("failing", ["rename", "unlink"])
def test_a_failure_in_the_middle_rolls_back_at_once(
    environment: Environment, stack: Path, failing: str
) -> None:
    """An I/O error while files are being replaced brings the originals back."""
    old = sources(snapshot(environment.site))
    raised = False
    seen = 0

    def fault(kind: str, path: Path) -> None:
        nonlocal raised, seen
        seen += kind == failing
        if seen == 4 and not raised:
            raised = True
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with pytest.raises(OSError, match="Input/output error"):
        apply(environment.prefix, stack=stack, disk=Disk(fault=fault))
    assert sources(snapshot(environment.site)) == old
    assert status(environment.prefix, stack=stack).interruption is None


def test_an_edit_after_the_crash_stops_the_recovery(environment: Environment, stack: Path) -> None:
    """Neither direction may overwrite what somebody wrote in between."""
    assert die_at(8, do_apply, environment, stack, only="rename")
    (environment.site / "vllm/engine.py").unlink()
    (environment.site / "vllm/engine.py").write_bytes(b"mine\n")
    for act in (do_apply, do_revert):
        with pytest.raises(Exception, match=r"vllm/engine\.py changed to what it was neither"):
            act(environment, stack, Disk())
    assert environment.read("vllm/engine.py") == b"mine\n"


def test_moving_across_file_systems_copies_beside_and_renames(
    environment: Environment, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the package is a mount of its own, links and renames into it are refused (EXDEV)."""
    real_replace, real_link = Path.replace, os.link

    def replace(self: Path, target: Path) -> Path:
        if ("journal" in self.parts) != ("journal" in Path(target).parts):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real_replace(self, target)

    def link(source: Path, target: Path, **options: bool) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "link", link)
    old = sources(snapshot(environment.site))
    do_apply(environment, stack, Disk())
    monkeypatch.setattr(Path, "replace", real_replace)
    monkeypatch.setattr(os, "link", real_link)

    assert environment.tree() == {**STEP_4, **MANY}
    assert status(environment.prefix, stack=stack).interruption is None
    do_revert(environment, stack, Disk())
    assert sources(snapshot(environment.site)) == old
    assert environment.tree() == RELEASE
