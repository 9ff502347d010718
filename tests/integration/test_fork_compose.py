"""compose: one stack of several, with git's own cherry-pick as the oracle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    Git,
    Said,
    Tree,
    call,
    changed,
    engine_line,
    exchange_and_end,
    make_stack,
    put_release,
    read_patches,
    write_tree,
)
from vllm_patchkit.stack.read import read_stack

LEFT_1 = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'left'\n")
LEFT_2 = {**LEFT_1, f"{ROOT}/left.py": b"LEFT = 1\n"}
LEFT = [("Left one", LEFT_1), ("Left two", LEFT_2)]
# Far from the left's lines in one file, alone in another.
RIGHT_1 = changed(RELEASE_1, ENGINE, engine_line(40), "def engine_40(): return 'right'\n")
RIGHT_2 = changed(RIGHT_1, REQUEST, "def request_3(): return 3\n", "def request_3(): return 33\n")
RIGHT = [("Right one", RIGHT_1), ("Right two", RIGHT_2)]
# On the very line that the left changes.
RIVAL = [("Rival one", changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 9\n")),
         ("Rival two", {**changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 9\n"),
                        f"{ROOT}/rival.py": b"RIVAL = 1\n"})]  # fmt: skip
RESOLVED = "def engine_5(): return 'both'\n"
Steps = Sequence[tuple[str, Tree]]


@pytest.fixture
def put(home: Path, capsys: pytest.CaptureFixture[str]) -> object:
    """Make a stack of that name."""

    def make(name: str, steps: Steps) -> Path:
        stack = make_stack(capsys, home / f"from-{name}", steps, name=name)
        place = home / "patches" / name
        place.parent.mkdir(exist_ok=True)
        stack.rename(place)
        return place

    return make


def compose(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Said:
    return call(capsys, "compose", *words)


def tree_of(
    capsys: pytest.CaptureFixture[str], home: Path, stack: Path, tag: str
) -> dict[str, bytes]:
    """Return what the stack makes of release 1.0, applied in place."""
    folder = write_tree(home / f"tree-{tag}", RELEASE_1)
    said = call(capsys, "apply", folder, "--stack", stack)
    assert said.code == 0, said.err
    return files_of(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if not name.startswith(".")}


def work_tree(home: Path) -> Git:
    (place,) = (path for path in (home / "cache" / "work").iterdir() if path.is_dir())
    return Git(place)


def cherry_picked(home: Path, *stacks: Steps) -> dict[str, bytes]:
    """Return what git makes of one branch after the other."""
    git = Git.create(home / "oracle", RELEASE_1)
    for number, steps in enumerate(stacks):
        git.run("checkout", "-q", "-b", f"s{number}", "base")
        for message, tree in steps:
            git.commit(tree, message)
    git.run("checkout", "-q", "-b", "all", "base")
    for number in range(len(stacks)):
        git.run("cherry-pick", f"base..s{number}")
    return files_of(git.folder)


def resolve(git: Git, line: str = RESOLVED) -> None:
    """Take one line for the first conflict in engine.py."""
    text = (git.folder / ENGINE).read_text()
    start, end = text.index("<<<<<<< "), text.index(">>>>>>> ")
    after = text.index("\n", end) + 1
    (git.folder / ENGINE).write_text(text[:start] + line + text[after:])
    git.run("add", ENGINE)


def test_the_composed_tree_is_that_of_cherry_picks(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right = put("left", LEFT), put("right", RIGHT)
    before = {**read_patches(left), **read_patches(right)}
    said = compose(capsys, "left", "right", "--name", "all")
    assert said.code == 0, said.err
    stack = home / "patches" / "all"
    names = ["0001-Left-one.patch", "0002-Left-two.patch", "0003-Right-one.patch",
             "0004-Right-two.patch"]  # fmt: skip
    assert list(read_patches(stack)) == names
    assert read_patches(stack)[names[0]] == before[names[0]]
    assert tree_of(capsys, home, stack, "all") == cherry_picked(home, LEFT, RIGHT)
    made = read_stack(stack)
    assert [made.parent_of(patch) for patch in made.patches] == ["left", "left", "right", "right"]
    assert [parent.path for parent in made.parents] == ["../left", "../right"]
    for parent in made.parents:
        lock = json.loads((home / "patches" / parent.name / "lock.json").read_bytes())
        assert parent.digest == lock["digest"]
    assert call(capsys, "refresh", stack, "--check").code == 0
    assert compose(capsys, "all", "--check").code == 0


def test_identify_says_which_parent_a_patch_came_from(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("left", LEFT)
    put("right", RIGHT)
    compose(capsys, "left", "right", "--name", "all")
    folder = write_tree(home / "tree", RELEASE_1)
    call(capsys, "apply", folder, "--stack", "all")
    said = call(capsys, "identify", folder, "--stack", "all")
    assert "0002-Left-two.patch  from left" in said.out
    assert "0003-Right-one.patch  from right" in said.out
    document = json.loads(call(capsys, "identify", folder, "--stack", "all", "--json").out)
    (found,) = document["stacks"]
    assert [patch["parent"] for patch in found["patches"]] == ["left", "left", "right", "right"]


def test_a_conflict_stops_in_a_work_tree_and_goes_on(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("left", LEFT)
    put("rival", RIVAL)
    assert "same lines" in call(capsys, "matrix", "left", "--with", "rival").out
    said = compose(capsys, "left", "rival", "--name", "all")
    assert said.code == 1
    assert "compose --continue" in said.err
    stack = home / "patches" / "all"
    assert not stack.exists()
    git = work_tree(home)
    assert git.run("status", "--short", "--untracked-files=no").decode() == f"UU {ENGINE}\n"
    again = compose(capsys, "left", "rival", "--name", "all")
    assert (again.code, "compose --continue" in again.err) == (2, True)
    assert compose(capsys, "all", "--continue").code == 1
    resolve(git)
    assert compose(capsys, "all", "--continue").code == 0
    assert not git.folder.exists()
    tree = tree_of(capsys, home, stack, "all")
    assert RESOLVED.encode() in tree[ENGINE]
    assert tree[f"{ROOT}/rival.py"] == b"RIVAL = 1\n"
    assert len(read_patches(stack)) == 4


def test_skip_drops_a_patch_and_abort_leaves_nothing(
    put, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("left", LEFT)
    put("rival", RIVAL)
    compose(capsys, "left", "rival", "--name", "all")
    assert compose(capsys, "all", "--abort").code == 0
    assert not (home / "patches" / "all").exists()
    compose(capsys, "left", "rival", "--name", "all")
    monkeypatch.chdir(work_tree(home).folder)
    assert compose(capsys, "--skip").code == 0
    monkeypatch.chdir(home)
    stack = read_stack(home / "patches" / "all")
    assert [stack.parent_of(patch) for patch in stack.patches] == ["left", "left", "rival"]


def test_update_carries_a_change_over_and_keeps_what_was_resolved(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = put("left", LEFT)
    put("rival", RIVAL)
    compose(capsys, "left", "rival", "--name", "all")
    resolve(work_tree(home))
    compose(capsys, "all", "--continue")
    stack = home / "patches" / "all"
    own = stack / "stack.toml"
    own.write_text(own.read_text().replace('label = "all"', 'label = "everything"'))
    assert call(capsys, "lock", stack).code == 0
    assert compose(capsys, "all", "--update").err.strip().endswith("nothing changed")
    # The left stack gets one more patch, and changes its second one.
    call(capsys, "edit", "left", "--dir", home / "wt")
    git = Git(home / "wt")
    (git.folder / ROOT / "left.py").write_text("LEFT = 2\n")
    git.run("commit", "-aq", "--amend", "--no-edit")
    (git.folder / ROOT / "more.py").write_text("MORE = 1\n")
    git.run("add", ".")
    git.run("commit", "-qm", "Left three")
    assert call(capsys, "refresh", "left").code == 0
    call(capsys, "edit", "left", "--close")
    checked = compose(capsys, "all", "--check")
    assert (checked.code, checked.out) == (1, "left changed since left.1 was composed\n") or (
        checked.out.startswith("left changed since left.1.d")
    )
    said = compose(capsys, "all", "--update")
    assert said.code == 0, said.err
    assert list(read_patches(stack)) == [
        "0001-Left-one.patch", "0002-Left-two.patch", "0003-Left-three.patch",
        "0004-Rival-one.patch", "0005-Rival-two.patch",
    ]  # fmt: skip
    tree = tree_of(capsys, home, stack, "all")
    assert RESOLVED.encode() in tree[ENGINE]
    assert tree[f"{ROOT}/left.py"] == b"LEFT = 2\n"
    assert tree[f"{ROOT}/more.py"] == b"MORE = 1\n"
    made = read_stack(stack)
    assert made.label == "everything"
    assert [made.parent_of(one) for one in made.patches] == ["left"] * 3 + ["rival"] * 2
    assert compose(capsys, "all", "--check").code == 0
    assert left.exists()


def test_a_patch_of_the_composed_stack_s_own_stays_last(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("left", LEFT)
    right = put("right", RIGHT)
    compose(capsys, "left", "right", "--name", "all")
    call(capsys, "edit", "all", "--dir", home / "wt")
    git = Git(home / "wt")
    (git.folder / ROOT / "glue.py").write_text("GLUE = 1\n")
    git.run("add", ".")
    git.run("commit", "-qm", "Glue")
    call(capsys, "refresh", "all")
    call(capsys, "edit", "all", "--close")
    toml = (right / "stack.toml").read_text().replace('summary = "', 'summary = "New: ')
    (right / "stack.toml").write_text(toml)
    call(capsys, "lock", right)
    assert compose(capsys, "all", "--update").code == 0
    made = read_stack(home / "patches" / "all")
    assert [made.parent_of(one) for one in made.patches] == ["left"] * 2 + ["right"] * 2 + [None]


def test_refresh_renumbers_what_is_said_of_the_parents(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("left", LEFT)
    put("right", RIGHT)
    compose(capsys, "left", "right", "--name", "all")
    call(capsys, "edit", "all", "--dir", home / "wt")
    git = Git(home / "wt")
    git.run("rebase", "-q", "--onto", "HEAD~3", "HEAD~2")
    assert call(capsys, "refresh", "all").code == 0
    made = read_stack(home / "patches" / "all")
    assert [made.parent_of(one) for one in made.patches] == ["left", "right", "right"]


def test_requirements_probes_and_scenarios_come_along(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {
        "left": '[wheel]\nrequires = ["helper<5"]\n\n[smoke]\npackage = "smoke"\n',
        "right": '[wheel]\nrequires = ["Helper>=2", "other"]\n',
    }
    for name, steps in (("left", LEFT), ("right", RIGHT)):
        stack = put(name, steps)
        if name == "left":
            write_tree(stack / "smoke", {"__init__.py": b"SCENARIOS = 1\n"})
        with (stack / "stack.toml").open("a") as file:
            file.write(f'\n{tables[name]}\n[[probe]]\npatch = "0002"\nexpression = "\'{name}\'"\n')
        assert call(capsys, "lock", stack).code == 0
    assert compose(capsys, "left", "right", "--name", "all").code == 0
    assert (home / "patches" / "all" / "smoke" / "__init__.py").read_bytes() == b"SCENARIOS = 1\n"
    made = read_stack(home / "patches" / "all")
    assert made.smoke.package == "smoke"
    assert made.requires == ("helper<5,>=2", "other")
    # Import proposes probes; those written here come last of their patches.
    written = [probe for probe in made.probes if probe.expression in ("'left'", "'right'")]
    assert [(probe.patch, probe.expression) for probe in written] == [
        ("0002", "'left'"), ("0004", "'right'"),
    ]  # fmt: skip


def test_what_cannot_be_composed_is_said(
    put, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("left", LEFT)
    put("right", RIGHT)
    for words, told in [
        (["left", "--name", "all"], "composed of several"),
        (["left", "left", "--name", "all"], "composed of several"),
        (["left", "right"], "--name is missing"),
        (["left", "right", "--name", "../x"], "is no name for a stack"),
        (["left", "right", "--name", "left"], "exists already"),
        (["left", "--update"], "was not composed"),
        (["all", "--continue"], "is not being composed"),
    ]:
        said = compose(capsys, *words)
        assert (said.code, told in said.err) == (2, True), (words, said.err)
    put_release(home / "cache", "1.1", {**RELEASE_1, f"{ROOT}/other.py": b"O = 1\n"})
    assert call(capsys, "rebase", "right", "--onto", "1.1").code == 0
    said = compose(capsys, "left", "right", "--name", "all")
    assert (said.code, "right on tiny-llm 1.1" in said.err) == (2, True)


def test_a_kill_right_after_the_exchange_is_finished_by_continue(
    put, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("left", LEFT)
    put("rival", RIVAL)
    compose(capsys, "left", "rival", "--name", "all")
    resolve(work_tree(home))
    with monkeypatch.context() as patched:
        patched.setattr("vllm_patchkit.fork.publish.replace_folder", exchange_and_end)
        assert compose(capsys, "all", "--continue").code == 130
    assert len(read_patches(home / "patches" / "all")) == 4
    assert compose(capsys, "all", "--continue").code == 0
    assert not [path for path in (home / "cache" / "work").iterdir() if path.is_dir()]
