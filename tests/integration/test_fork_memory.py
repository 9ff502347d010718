"""A conflict is resolved once: after --abort, in another rebase, in a chain of releases."""

from __future__ import annotations

import shutil
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
    Tree,
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


def memory(home: Path) -> Path:
    return home / "cache" / "git" / "store.git" / "rr-cache"


def corrupt(home: Path, how: str) -> None:
    """Damage what was remembered of the one conflict."""
    (place,) = memory(home).iterdir()
    if how == "a file":
        shutil.rmtree(memory(home))
        memory(home).write_text("not a folder\n")
        return
    if how == "a folder instead":
        for name in ("preimage", "postimage"):
            (place / name).unlink()
            (place / name).mkdir()
        return
    if how == "other names":
        place.rename(place.with_name("not-an-id"))
        (memory(home) / "x" / "y").mkdir(parents=True)
        (memory(home) / "note.txt").write_text("mine\n")
        return
    name, data = {
        "empty preimage": ("preimage", b""),
        "empty postimage": ("postimage", b""),
        "binary preimage": ("preimage", bytes(range(256))),
        "cut preimage": ("preimage", (place / "preimage").read_bytes()[:40]),
        "markers in the postimage": ("postimage", (place / "preimage").read_bytes()),
    }[how]
    (place / name).write_bytes(data)


@pytest.mark.parametrize(
    "how",
    [
        "a file", "a folder instead", "other names", "empty preimage", "empty postimage",
        "binary preimage", "cut preimage", "markers in the postimage",
    ],
)  # fmt: skip
def test_a_damaged_memory_costs_the_memory_alone(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """It stops as if nothing were remembered, or says what is wrong; no patch gets nonsense."""
    rebase(capsys, stack, "--onto", "2.0", "--into", home / "two")
    resolve(home)
    rebase(capsys, stack, "--continue")
    corrupt(home, how)
    said = rebase(capsys, stack, "--onto", "2.0")
    assert said.code == 1, (said.out, said.err)
    assert "Traceback" not in said.err
    assert "conflict" in said.out
    resolve(home)
    assert rebase(capsys, stack, "--continue").code == 0
    assert read_patches(stack) == read_patches(home / "two")


def test_two_rebases_at_once_learn_both(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = home / "patches" / "other"
    shutil.copytree(stack, other)
    rebase(capsys, stack, "--onto", "2.0", "--into", home / "a", "--dir", home / "wa")
    rebase(capsys, other, "--onto", "2.0", "--into", home / "b", "--dir", home / "wb")
    for place, line in ((home / "wa", RESOLVED), (home / "wb", RESOLVED.replace("334", "335"))):
        text = (place / REQUEST).read_text()
        start, end = text.index("<<<<<<< "), text.index(">>>>>>> ")
        after = text.index("\n", end) + 1
        (place / REQUEST).write_text(text[:start] + line + text[after:])
        Git(place).run("add", REQUEST)
    assert rebase(capsys, other, "--continue").code == 0
    assert rebase(capsys, stack, "--continue").code == 0
    assert b"+" + RESOLVED.encode() in first_patch(home / "a")
    assert b"return 335" in first_patch(home / "b")
    # One of them is what is remembered, whole.
    said = rebase(capsys, stack, "--onto", "2.1")
    assert said.code == 0, said.err
    assert any(line in first_patch(stack) for line in (b"return 334", b"return 335"))


def test_an_abort_half_way_keeps_what_was_resolved_before(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two conflicts the first is settled, the second left with its markers."""
    nine = "def sampler_9(): return 9\n"
    two = changed(OURS, SAMPLER, nine, "def sampler_9(): return 99\n")
    put_release(home / "cache", "3.0", RELEASE_3)
    stack = make_stack(capsys, home, [("One", OURS), ("Two", two)])
    rebase(capsys, stack, "--onto", "3.0")
    resolve(home)
    assert rebase(capsys, stack, "--continue").code == 1
    assert rebase(capsys, stack, "--abort").code == 0
    said = rebase(capsys, stack, "--onto", "3.0")
    assert (said.code, "0001-One.patch: resolved as before" in said.err) == (1, True)
    assert "0002-Two.patch: resolved as before" not in said.err


def test_the_same_conflict_with_other_line_ends(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was resolved in a file of LF never writes LF into one of CRLF."""

    def crlf(tree: Tree) -> dict[str, bytes]:
        return {**tree, REQUEST: tree[REQUEST].replace(b"\n", b"\r\n")}

    put_release(home / "cache", "2.0", RELEASE_2)
    stack = make_stack(capsys, home, STEPS)
    rebase(capsys, stack, "--onto", "2.0", "--into", home / "two")
    resolve(home)
    assert rebase(capsys, stack, "--continue").code == 0
    put_release(home / "cache", "1.1", crlf(RELEASE_1))
    put_release(home / "cache", "2.1", crlf(RELEASE_2))
    git = Git.create(home / "windows", crlf(RELEASE_1))
    git.commit(crlf(OURS), "One")
    (home / "windows.mbox").write_bytes(git.mailbox())
    said = call(
        capsys, "import", home / "windows.mbox", "--base", "tiny-llm==1.1", "--name", "crlf"
    )
    assert said.code == 0, said.err
    other = home / "patches" / "crlf"
    said = rebase(capsys, other, "--onto", "2.1")
    if said.code == 1:
        (place,) = (path for path in (home / "cache" / "work").iterdir() if path.is_dir())
        data = (place / REQUEST).read_bytes()
        start, end = data.index(b"<<<<<<< "), data.index(b">>>>>>> ")
        after = data.index(b"\n", end) + 1
        line = RESOLVED.encode().replace(b"\n", b"\r\n")
        (place / REQUEST).write_bytes(data[:start] + line + data[after:])
        Git(place).run("add", REQUEST)
        assert rebase(capsys, other, "--continue").code == 0
    added = [
        line for line in first_patch(other).splitlines(keepends=True) if line.startswith(b"+def")
    ]
    assert added
    assert all(line.endswith(b"\r\n") for line in added)
