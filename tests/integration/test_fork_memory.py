"""A conflict is resolved once: after --abort, in another rebase, in a chain of releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    RELEASE_1,
    REQUEST,
    ROOT,
    SAMPLER,
    Git,
    Said,
    call,
    changed,
    make_stack,
    put_release,
    read_patches,
)

LINE = "def request_3(): return 3\n"
OURS = changed(RELEASE_1, REQUEST, LINE, "def request_3(): return 33\n")
STEPS = [("One", OURS), ("Two", {**OURS, f"{ROOT}/two.py": b"TWO = 2\n"})]
# 2.0 and 2.1 change the line of the first patch the same way; 3.0 changes another file as well.
RELEASE_2 = changed(RELEASE_1, REQUEST, LINE, "def request_3(): return 4\n")
RELEASE_21 = {**RELEASE_2, f"{ROOT}/more.py": b"MORE = 1\n"}
RELEASE_3 = changed(RELEASE_21, SAMPLER, "def sampler_9(): return 9\n", "def sampler_9(): pass\n")
RESOLVED = "def request_3(): return 334\n"


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    for version, tree in (("2.0", RELEASE_2), ("2.1", RELEASE_21), ("3.0", RELEASE_3)):
        put_release(home / "cache", version, tree)
    return make_stack(capsys, home, STEPS)


def rebase(capsys: pytest.CaptureFixture[str], stack: Path, *words: str | Path) -> Said:
    return call(capsys, "rebase", stack, *words)


def resolve(home: Path, *, add: bool = True) -> Path:
    (place,) = (path for path in (home / "cache" / "work").iterdir() if path.is_dir())
    text = (place / REQUEST).read_text()
    start, end = text.index("<<<<<<< "), text.index(">>>>>>> ")
    after = text.index("\n", end) + 1
    (place / REQUEST).write_text(text[:start] + RESOLVED + text[after:])
    if add:
        Git(place).run("add", REQUEST)
    return place


def first_patch(stack: Path) -> bytes:
    return next(iter(read_patches(stack).values()))


def test_the_same_rebase_again_needs_nobody(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = home / "copy"
    assert rebase(capsys, stack, "--onto", "2.0", "--into", copy).code == 1
    resolve(home)
    assert rebase(capsys, stack, "--continue").code == 0
    said = rebase(capsys, stack, "--onto", "2.0")
    assert said.code == 0, said.err
    assert "0001-One.patch: resolved as before" in said.err
    assert "resolved  0001-One.patch" in said.out
    assert read_patches(stack) == read_patches(copy)
    assert b"+" + RESOLVED.encode() in first_patch(stack)


@pytest.mark.parametrize("add", [True, False])
def test_what_was_resolved_survives_an_abort(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str], add: bool
) -> None:
    rebase(capsys, stack, "--onto", "2.0")
    place = resolve(home, add=add)
    assert rebase(capsys, stack, "--abort").code == 0
    assert not place.exists()
    assert rebase(capsys, stack, "--onto", "2.0").code == 0
    assert b"+" + RESOLVED.encode() in first_patch(stack)


def test_an_unresolved_conflict_teaches_nothing(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rebase(capsys, stack, "--onto", "2.0")
    rebase(capsys, stack, "--abort")
    said = rebase(capsys, stack, "--onto", "2.0")
    assert (said.code, "resolved as before" in said.err) == (1, False)
    assert rebase(capsys, stack, "--continue").code == 1
    assert rebase(capsys, stack, "--skip").code == 0
    assert list(read_patches(stack)) == ["0001-Two.patch"]


def test_another_release_with_the_same_conflict_needs_nobody(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rebase(capsys, stack, "--onto", "2.0", "--into", home / "two")
    resolve(home)
    rebase(capsys, stack, "--continue")
    assert rebase(capsys, stack, "--onto", "2.1").code == 0
    assert 'version = "2.1"' in (stack / "stack.toml").read_text()


def test_a_chain_goes_through_every_release(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = rebase(capsys, stack, "--onto", "2.0", "--onto", "2.1", "--onto", "3.0")
    assert said.code == 1
    resolve(home)
    said = rebase(capsys, stack, "--continue")
    assert said.code == 0, said.err
    assert [line for line in said.err.splitlines() if line.startswith("on to")] == [
        "on to 2.1", "on to 3.0",
    ]  # fmt: skip
    assert 'version = "3.0"' in (stack / "stack.toml").read_text()
    assert b"+" + RESOLVED.encode() in first_patch(stack)
    undone = call(capsys, "undo", stack)
    assert undone.code == 0
    assert 'version = "2.1"' in (stack / "stack.toml").read_text()


def test_the_loss_of_the_cache_loses_no_work(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rebase(capsys, stack, "--onto", "2.0", "--dir", home / "wt")
    text = (home / "wt" / REQUEST).read_text()
    start, end = text.index("<<<<<<< "), text.index(">>>>>>> ")
    after = text.index("\n", end) + 1
    (home / "wt" / REQUEST).write_text(text[:start] + RESOLVED + text[after:])
    for path in (home / "cache" / "git" / "store.git" / "rr-cache").glob("*/*"):
        path.unlink()
    Git(home / "wt").run("add", REQUEST)
    assert rebase(capsys, stack, "--continue").code == 0
    assert list((home / "cache" / "git" / "store.git" / "rr-cache").glob("*/postimage"))


def test_a_chain_of_wheel_files_goes_on_from_any_folder(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths, given where the rebase was started, and a --continue in the work tree."""
    (home / "wheels").mkdir()
    for version in ("2.0", "2.1"):
        name = f"{ROOT}-{version}-py3-none-any.whl"
        (home / "cache" / "inputs" / name).rename(home / "wheels" / name)
    monkeypatch.chdir(home / "wheels")
    names = [f"./{ROOT}-{version}-py3-none-any.whl" for version in ("2.0", "2.1")]
    assert rebase(capsys, stack, "--onto", names[0], "--onto", names[1]).code == 1
    monkeypatch.chdir(resolve(home))
    said = rebase(capsys, stack, "--continue")
    assert said.code == 0, said.err
    assert 'version = "2.1"' in (stack / "stack.toml").read_text()


def test_a_release_that_is_to_follow_is_looked_at_first(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in stack.iterdir()}
    said = rebase(capsys, stack, "--onto", "3.0", "--onto", "next")
    assert said.code == 2
    assert "'next' does not name a release" in said.err
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before
