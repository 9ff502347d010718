"""compose beside parents that change, move, agree too well or are written oddly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    DISTRIBUTION,
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    Git,
    Tree,
    call,
    changed,
    engine_line,
    put_release,
    read_patches,
)
from vllm_patchkit.digest import sha256_hex
from vllm_patchkit.stack.model import Stack
from vllm_patchkit.stack.read import read_stack

FIVE = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'left'\n")
RIVAL = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'right'\n")
FORTY = changed(RELEASE_1, ENGINE, engine_line(40), "def engine_40(): return 'right'\n")
THREE = changed(RELEASE_1, REQUEST, "def request_3(): return 3\n", "def request_3(): return 33\n")
Capture = pytest.CaptureFixture[str]


def put(home: Path, capsys: Capture, name: str, *steps: tuple[str, Tree], base: str = "") -> Path:
    """Make a stack in the folder of stacks, on release 1.0 or a wheel."""
    git = Git.create(home / f"from-{name}", RELEASE_1)
    for message, tree in steps:
        git.commit(tree, message)
    (home / f"{name}.mbox").write_bytes(git.mailbox())
    said = call(capsys, "import", home / f"{name}.mbox", "--name", name, "--base",
                base or f"{DISTRIBUTION}==1.0")  # fmt: skip
    assert said.code == 0, said.err
    return home / "patches" / name


def edit(stack: Path, old: str, new: str) -> None:
    file = stack / "stack.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def resolve(home: Path, name: str = ENGINE) -> Git:
    """Take the patch's side in the one open work tree."""
    (place,) = (path for path in (home / "cache" / "work").iterdir() if path.is_dir())
    git = Git(place)
    git.run("checkout", "--theirs", "--", name)
    git.run("add", name)
    return git


def origins(stack: Path) -> dict[str, str]:
    """Return subject -> parent, a number after subjects that are there twice."""
    read: Stack = read_stack(stack)
    found: dict[str, str] = {}
    for patch in read.patches:
        found[f"{patch.number} {patch.message.subject}"] = read.parent_of(patch) or "own"
    return found


def test_any_summary_is_text_that_toml_takes(home: Path, capsys: Capture) -> None:
    left = put(home, capsys, "left", ("Five", FIVE))
    put(home, capsys, "right", ("Three", THREE))
    odd = "Rockets \U0001f680 and \\u00e9, \x7f too"
    edit(left, read_stack(left).summary, odd.replace("\\", "\\\\").replace("\x7f", "\\u007f"))
    said = call(capsys, "compose", "left", "right", "--name", "both")
    assert said.code == 0, said.err
    assert odd in read_stack(home / "patches" / "both").summary


def test_the_very_wheel_of_the_parents_stays_the_base(home: Path, capsys: Capture) -> None:
    """A wheel that no registry has, given by its path."""
    put_release(home / "cache", "1.0+ours", RELEASE_1)
    wheel = home / f"{ROOT}-1.0+ours-py3-none-any.whl"
    (home / "cache" / "inputs" / wheel.name).rename(wheel)
    left = put(home, capsys, "left", ("Five", FIVE), base=str(wheel))
    put(home, capsys, "right", ("Three", THREE), base=str(wheel))
    said = call(capsys, "compose", "left", "right", "--name", "both")
    assert said.code == 0, said.err
    assert read_stack(home / "patches" / "both").base == read_stack(left).base
    assert read_stack(left).base.sha256
    assert call(capsys, "refresh", "both", "--check").code == 0


def test_patches_of_one_subject_keep_their_parents(home: Path, capsys: Capture) -> None:
    """What imports without a message is called after its file, in every stack."""
    put(home, capsys, "left", ("Five", FIVE), ("Change engine.py", {**FIVE, "tiny_llm/l.py": b""}))
    put(home, capsys, "right", ("Change engine.py", RIVAL), ("Change engine.py", {
        **RIVAL, f"{ROOT}/right.py": b"R = 1\n"}))  # fmt: skip
    said = call(capsys, "compose", "left", "right", "--name", "both")
    assert (said.code, "conflict" in said.out) == (1, True)
    assert call(capsys, "compose", "both", "--skip").code == 0
    both = home / "patches" / "both"
    assert origins(both) == {
        "1 Five": "left", "2 Change engine.py": "left", "3 Change engine.py": "right",
    }  # fmt: skip
    assert read_stack(both).parents[1].patches.keys() == {"0003"}
    patches = read_patches(home / "patches" / "right").values()
    (data,) = (one for one in patches if b"right.py" in one)
    assert sha256_hex(data).startswith(read_stack(both).parents[1].patches["0003"])


@pytest.mark.parametrize("first", ["left", "right"])
def test_the_first_of_two_equal_subjects_is_dropped(
    home: Path, capsys: Capture, first: str
) -> None:
    """One that changes nothing any more, since another stack has it, is nobody else's."""
    put(home, capsys, "left", ("Fix", FIVE))
    put(home, capsys, "right", ("Fix", FIVE), ("Fix", {**FIVE, f"{ROOT}/more.py": b"M = 1\n"}))
    other = {"left": "right", "right": "left"}[first]
    said = call(capsys, "compose", first, other, "--name", "both")
    assert said.code == 0, said.err
    found = origins(home / "patches" / "both")
    assert list(found.values()) == (["left", "right"] if first == "left" else ["right", "right"])
    made = read_patches(home / "patches" / "both").values()
    last = list(read_patches(home / "patches" / "right").values())[-1]
    assert b"more.py" in list(made)[-1]
    (right,) = (one for one in read_stack(home / "patches" / "both").parents if one.name == "right")
    assert sha256_hex(last).startswith(right.patches["0002"])


def test_a_parent_that_is_called_otherwise_keeps_what_was_resolved(
    home: Path, capsys: Capture
) -> None:
    put(home, capsys, "left", ("Five", FIVE))
    right = put(home, capsys, "right", ("Rival", RIVAL), ("Three", {**RIVAL, **{
        REQUEST: THREE[REQUEST]}}))  # fmt: skip
    assert call(capsys, "compose", "left", "right", "--name", "both").code == 1
    git = resolve(home)
    (git.folder / ENGINE).write_bytes(FIVE[ENGINE] + b"BOTH = 1\n")
    git.run("add", ENGINE)
    assert call(capsys, "compose", "both", "--continue").code == 0
    before = read_patches(home / "patches" / "both")
    shutil.rmtree(home / "cache" / "git" / "store.git" / "rr-cache")
    edit(right, 'name = "right"', 'name = "starboard"')
    assert call(capsys, "lock", right).code == 0
    said = call(capsys, "compose", "both", "--update")
    assert said.code == 0, said.out + said.err
    assert read_patches(home / "patches" / "both") == before
    assert set(origins(home / "patches" / "both").values()) == {"left", "starboard"}


def test_a_parent_that_is_moved_or_gone(home: Path, capsys: Capture) -> None:
    put(home, capsys, "left", ("Five", FIVE))
    right = put(home, capsys, "right", ("Three", THREE))
    assert call(capsys, "compose", "left", "right", "--name", "both").code == 0
    right.rename(home / "elsewhere")
    for words in (["--check"], ["--update"]):
        said = call(capsys, "compose", "both", *words)
        assert (said.code, "right" in said.err, "Traceback" in said.err) == (2, True, False)
    (home / "elsewhere").rename(right)
    assert call(capsys, "compose", "both", "--check").code == 0


def test_reordered_patches_of_a_parent(home: Path, capsys: Capture) -> None:
    put(home, capsys, "left", ("Five", FIVE))
    both = {**FORTY, REQUEST: THREE[REQUEST]}
    put(home, capsys, "right", ("Forty", FORTY), ("Three", both))
    assert call(capsys, "compose", "left", "right", "--name", "both").code == 0
    tree = Git(Path(call(capsys, "edit", "right").out.strip()))
    tree.run("-c", "user.name=x", "-c", "user.email=x@y", "rebase", "--quiet", "--onto",
             "refs/patchkit/base", "HEAD~1")  # fmt: skip
    forty = tree.run("rev-parse", "refs/patchkit/start~1").decode().strip()
    tree.run("cherry-pick", forty)
    assert call(capsys, "refresh", "right").code == 0
    assert call(capsys, "edit", "right", "--close").code == 0
    said = call(capsys, "compose", "both", "--update")
    assert said.code == 0, said.out + said.err
    assert list(origins(home / "patches" / "both")) == ["1 Five", "2 Three", "3 Forty"]
    assert call(capsys, "compose", "both", "--check").code == 0


def test_a_parent_that_changes_while_a_compose_is_open(home: Path, capsys: Capture) -> None:
    put(home, capsys, "left", ("Five", FIVE))
    right = put(home, capsys, "right", ("Rival", RIVAL))
    assert call(capsys, "compose", "left", "right", "--name", "both").code == 1
    for words in (["left", "right", "--name", "both"], ["both", "--update"]):
        said = call(capsys, "compose", *words)
        assert (said.code, "Traceback" in said.err) == (2, False)
    resolve(home)
    edit(right, read_stack(right).summary, "Changed meanwhile")
    said = call(capsys, "compose", "both", "--continue")
    assert (said.code, "changed since the compose was started" in said.err) == (1, True)
    assert not (home / "patches" / "both").exists()
    assert call(capsys, "compose", "both", "--abort").code == 0
    assert call(capsys, "compose", "left", "right", "--name", "both").code == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', "null"])
def test_a_parent_whose_lock_is_damaged_is_named(home: Path, capsys: Capture, text: str) -> None:
    left = put(home, capsys, "left", ("Five", FIVE))
    put(home, capsys, "right", ("Three", THREE))
    (left / "lock.json").write_text(text)
    said = call(capsys, "compose", "left", "right", "--name", "both")
    assert (said.code, "lock.json" in said.err, "Traceback" in said.err) == (1, True, False)
    assert not (home / "patches" / "both").exists()


def test_a_parent_on_another_base(home: Path, capsys: Capture) -> None:
    put_release(home / "cache", "2.0", {**RELEASE_1, f"{ROOT}/two.py": b"TWO = 2\n"})
    put(home, capsys, "left", ("Five", FIVE))
    put(home, capsys, "right", ("Three", THREE))
    assert call(capsys, "compose", "left", "right", "--name", "both").code == 0
    for name in ("left", "right"):
        assert call(capsys, "rebase", name, "--onto", "2.0").code == 0
        said = call(capsys, "compose", "both", "--update")
        assert (said.code, "rebase" in said.err) == (2, True), said.err
    assert call(capsys, "rebase", "both", "--onto", "2.0").code == 0
    said = call(capsys, "compose", "both", "--update")
    assert said.code == 0, said.err


def test_a_parent_that_was_edited_by_hand_is_named(home: Path, capsys: Capture) -> None:
    """Every stack has a 0001; the one that no longer is what its ids say is named by its stack."""
    put(home, capsys, "left", ("Five", FIVE))
    right = put(home, capsys, "right", ("Three", THREE))
    assert call(capsys, "compose", "left", "right", "--name", "both").code == 0
    before = read_patches(home / "patches" / "both")
    (patch,) = right.glob("*.patch")
    patch.write_bytes(patch.read_bytes().replace(b"return 33\n", b"return 34\n"))
    said = call(capsys, "compose", "both", "--check")
    assert (said.code, said.out.startswith("right changed since")) == (1, True)
    said = call(capsys, "compose", "both", "--update")
    assert (said.code, f"right: {patch.name} does not apply" in said.err) == (1, True), said.err
    patch.unlink()
    said = call(capsys, "compose", "both", "--update")
    assert (said.code, f"{patch.name}, which does not exist" in said.err) == (1, True), said.err
    assert read_patches(home / "patches" / "both") == before
