"""apply, verify and revert in place carry what a stack requires in METADATA and RECORD."""

from __future__ import annotations

from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from support.environments import (
    CHANGES,
    RELEASE,
    Environment,
    check_record,
    edit,
    install,
    make_stack,
    snapshot,
)
from support.stacks import METADATA, Change
from vllm_patchkit.errors import StackError
from vllm_patchkit.operations.targets import apply, revert, status, verify

TABLE = '\n[wheel]\nrequires = ["transformers<5", "helper>=1"]\n'
ADDED = ["transformers<5", "helper>=1"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stack(tmp_path_factory.mktemp("stack") / "tiny", metadata=METADATA + TABLE)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    found = install(tmp_path / "env")
    require(found, "transformers>=4.55")
    return found


def require(environment: Environment, *lines: str) -> None:
    """Let the installed METADATA list requirements, and RECORD know it."""
    path = environment.site / environment.dist_info / "METADATA"
    edited = path.read_bytes().replace(
        b"\n\n", "".join(f"\nRequires-Dist: {one}" for one in lines).encode() + b"\n\n", 1
    )
    rewrite(environment, edited)


def rewrite(environment: Environment, metadata: bytes) -> None:
    """Replace METADATA as another installer would: with its row in RECORD."""
    from vllm_patchkit.wheel.record import update_record

    folder = environment.site / environment.dist_info
    (folder / "METADATA").write_bytes(metadata)
    path = f"{environment.dist_info}/METADATA"
    record = update_record((folder / "RECORD").read_bytes(), {path: metadata})
    (folder / "RECORD").write_bytes(record)


def required(environment: Environment) -> list[str]:
    return PathDistribution(environment.site / environment.dist_info).requires or []


@pytest.mark.parametrize("steps", [["0001", None], [None], ["0002", "0003", None]])
def test_apply_adds_them_and_revert_takes_them_back(
    environment: Environment, stack: Path, steps: list[str | None]
) -> None:
    before = snapshot(environment.site)
    for upto in steps:
        apply(environment.prefix, stack=stack, upto=upto)
        assert required(environment) == ["transformers>=4.55", *ADDED]
        assert check_record(environment.site, environment.dist_info) == []
    assert verify(environment.prefix, stack=stack).report.state == "applied"
    revert(environment.prefix, stack=stack)
    assert snapshot(environment.site) == before


def test_a_lost_line_is_seen_and_put_back(environment: Environment, stack: Path) -> None:
    before = snapshot(environment.site)
    apply(environment.prefix, stack=stack)
    applied = snapshot(environment.site)
    metadata = environment.read(f"{environment.dist_info}/METADATA")
    rewrite(environment, metadata.replace(b"Requires-Dist: transformers<5\n", b""))
    report = verify(environment.prefix, stack=stack).report
    (verdict,) = [file for file in report.files if file.path.endswith("METADATA")]
    assert (report.state, verdict.note) == ("drifted", "lacks transformers<5")
    (told,) = status(environment.prefix, stack=stack).stacks
    assert told.report.state == "drifted"
    assert apply(environment.prefix, stack=stack).done
    assert verify(environment.prefix, stack=stack).report.state == "applied"
    assert required(environment) == ["transformers>=4.55", "helper>=1", "transformers<5"]
    assert not apply(environment.prefix, stack=stack).done
    rewrite(environment, metadata)
    assert snapshot(environment.site) == applied
    revert(environment.prefix, stack=stack)
    assert snapshot(environment.site) == before


def test_what_somebody_else_changed_stays(environment: Environment, stack: Path) -> None:
    apply(environment.prefix, stack=stack)
    require(environment, "other")
    revert(environment.prefix, stack=stack)
    assert required(environment) == ["transformers>=4.55", "other"]
    assert check_record(environment.site, environment.dist_info) == []


def test_a_line_that_was_there_before_stays(tmp_path: Path, stack: Path) -> None:
    environment = install(tmp_path / "env")
    require(environment, "transformers>=4.55", "helper>=1")
    before = snapshot(environment.site)
    apply(environment.prefix, stack=stack)
    require(environment, "other")
    revert(environment.prefix, stack=stack)
    assert required(environment) == ["transformers>=4.55", "helper>=1", "other"]
    fresh = install(tmp_path / "fresh")
    require(fresh, "transformers>=4.55", "helper>=1")
    apply(fresh.prefix, stack=stack)
    revert(fresh.prefix, stack=stack)
    assert snapshot(fresh.site) == before


@pytest.mark.parametrize("first", [0, 1])
def test_two_stacks_share_a_line_until_both_are_gone(
    environment: Environment, tmp_path: Path, first: int
) -> None:
    table = '\n[wheel]\nrequires = ["transformers<5"]\n'
    stacks = []
    for name, change in (
        ("one", edit(RELEASE, a=b"A = 1\n")),
        ("two", edit(RELEASE, b=b"B = 1\n")),
    ):
        metadata = METADATA.replace("tiny", name) + table
        changes = (Change("Add a module", change),)
        stacks.append(make_stack(tmp_path / name, changes, metadata=metadata))
    before = snapshot(environment.site)
    for stack in stacks:
        apply(environment.prefix, stack=stack)
    revert(environment.prefix, stack=stacks[first])
    assert required(environment) == ["transformers>=4.55", "transformers<5"]
    assert check_record(environment.site, environment.dist_info) == []
    revert(environment.prefix, stack=stacks[1 - first])
    assert required(environment) == ["transformers>=4.55"]
    assert snapshot(environment.site).keys() == before.keys()


def test_a_wider_range_changes_nothing(environment: Environment, tmp_path: Path) -> None:
    table = '\n[wheel]\nrequires = ["transformers>=4"]\n'
    stack = make_stack(tmp_path / "tiny", CHANGES, metadata=METADATA + table)
    before = snapshot(environment.site)
    with pytest.raises(StackError, match="not narrower"):
        apply(environment.prefix, stack=stack)
    assert snapshot(environment.site) == before
