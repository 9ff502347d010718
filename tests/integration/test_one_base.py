"""One target, one base: which wheel a stack was cut from is remembered, by its bytes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    ENGINE,
    RELEASE_1,
    ROOT,
    Git,
    call,
    changed,
    engine_line,
    put_release,
    write_tree,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Another build of the release that the registry has: same name and version, other bytes.
OTHER = changed(RELEASE_1, ENGINE, engine_line(3), "def engine_3(): return 'own'\n")
COMMANDS = (
    ("lint", "fork"), ("lock", "fork"), ("refresh", "fork", "--check"), ("diff", "fork"),
    ("matrix", "fork"), ("export", "fork", "--output", "out.mbox"), ("wheel", "--stack", "fork"),
)  # fmt: skip


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A stack that was cut from a wheel which only a file has."""
    wheel = put_release(home / "elsewhere", "1.0", OTHER)
    git = Git.create(home / "origin", OTHER)
    git.commit(changed(OTHER, ENGINE, "return 'own'", "return 'patched'"), "Patch")
    (home / "x.mbox").write_bytes(git.mailbox())
    said = call(capsys, "import", home / "x.mbox", "--base", wheel, "--name", "fork")
    assert said.code == 0, said.err
    return home / "patches" / "fork"


def test_the_wheel_is_recorded(stack: Path, home: Path) -> None:
    """stack.toml has the file's name and its sha256."""
    wheel = home / "elsewhere/inputs" / f"{ROOT}-1.0-py3-none-any.whl"
    base = tomllib.loads((stack / "stack.toml").read_text())["base"]
    assert base["wheel"] == wheel.name
    assert base["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_every_command_finds_it_by_its_digest(
    words: tuple[str, ...], stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is gone and the registry has another one: it is found in the cache all the same."""
    (home / "elsewhere/inputs" / f"{ROOT}-1.0-py3-none-any.whl").unlink()
    said = call(capsys, *words)
    assert "does not apply" not in said.out + said.err
    assert "A401" not in said.out
    if words[0] != "lint":
        assert said.code == 0, said.err


def test_import_then_wheel(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A release from the registry needs no pin of ours: import recorded one in the stack."""
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(changed(RELEASE_1, ENGINE, engine_line(3), "THREE = 3\n"), "Patch")
    (home / "x.mbox").write_bytes(git.mailbox())
    assert (
        call(capsys, "import", home / "x.mbox", "--base", "tiny-llm==1.0", "--name", "f").code == 0
    )
    said = call(capsys, "wheel", "--stack", "f", "--out", home / "dist")
    assert said.code == 0, said.err
    (wheel,) = (home / "dist").glob("*.whl")
    assert call(capsys, "wheel", "--check", wheel).code == 0


def test_a_base_on_the_command_line_has_to_be_the_one(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another file than the recorded one is refused, with both digests; the right one is taken."""
    own = home / "elsewhere/inputs" / f"{ROOT}-1.0-py3-none-any.whl"
    other = home / "cache/inputs" / own.name
    said = call(capsys, "refresh", "fork", "--base", other)
    assert said.code == 2
    for file in (own, other):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in said.err
    said = call(capsys, "refresh", "fork", "--check", "--base", own)
    assert said.code == 0, said.err


def test_a_rebase_records_the_new_base(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wheel in stack.toml is that of the release which the stack is on."""
    wheel = put_release(home / "cache", "1.1", OTHER)
    said = call(capsys, "rebase", "fork", "--onto", "1.1")
    assert said.code == 0, said.err
    base = tomllib.loads((stack / "stack.toml").read_text())["base"]
    assert base["version"] == "1.1"
    assert base["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.parametrize("command", ["apply", "verify", "status", "revert"])
def test_two_dist_infos_of_one_distribution_are_refused(
    command: str, stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are named, nothing is changed, and the hint says how to mend it."""
    site = write_tree(home / "site-packages", OTHER)
    for version in ("0.9", "1.0"):
        info = site / f"{ROOT}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: tiny-llm\nVersion: {version}\n")
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in OTHER))
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    said = call(capsys, command, site, "--stack", stack)
    assert said.code == 1
    for version in ("0.9", "1.0"):
        assert f"{ROOT}-{version}.dist-info" in said.err
    assert "pip uninstall -y tiny-llm" in said.err
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
