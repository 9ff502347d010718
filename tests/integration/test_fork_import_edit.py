"""import --edit: what does not apply stops in a work tree, and git judges what that is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    DISTRIBUTION,
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    SAMPLER,
    Ended,
    Git,
    Said,
    Tree,
    call,
    changed,
    end,
    engine_line,
    exchange_and_end,
    read_patches,
    write_tree,
)
from vllm_patchkit.fork import publish
from vllm_patchkit.fork.intake import resuming
from vllm_patchkit.fork.rebase import session, stopping

OLD_LINE = "def engine_30(): return 'older'\n"
# The patches were cut from a release with another line 30.
OLDER = changed(RELEASE_1, ENGINE, engine_line(30), OLD_LINE)
FORTY = "def engine_40(): return 'forty'\n"
RESOLVED = "def engine_30(): return 'both'\n"


def edit_all(tree: Tree, thirty: str) -> dict[str, bytes]:
    """Return the tree with four places changed, one of them line 30 of the engine."""
    tree = changed(tree, ENGINE, engine_line(5), "def engine_5(): return 'five'\n")
    tree = changed(tree, ENGINE, thirty, "def engine_30(): return 'patched'\n")
    tree = changed(tree, REQUEST, "def request_3(): return 3\n", "def request_3(): return 33\n")
    return changed(tree, SAMPLER, "def sampler_9(): return 9\n", "def sampler_9(): return 99\n")


PATCHED = edit_all(OLDER, OLD_LINE)
FIRST = {**OLDER, f"{ROOT}/fresh.py": b"FRESH = 1\n"}
STEPS: list[tuple[str, Tree]] = [
    ("Fresh", FIRST),
    ("Four places", {**PATCHED, f"{ROOT}/fresh.py": b"FRESH = 1\n"}),
    ("Forty", {**changed(PATCHED, ENGINE, engine_line(40), FORTY),
               f"{ROOT}/fresh.py": b"FRESH = 1\n"}),
]  # fmt: skip
NAMES = ["0001-Fresh.patch", "0002-Four-places.patch", "0003-Forty.patch"]


def expected(thirty: str = RESOLVED) -> dict[str, bytes]:
    """Return the release with all three patches, line 30 as it was resolved."""
    tree = changed(RELEASE_1, ENGINE, engine_line(30), "THIRTY\n")
    tree = changed(edit_all(tree, "THIRTY\n"), ENGINE, engine_line(40), FORTY)
    tree = changed(tree, ENGINE, "def engine_30(): return 'patched'\n", thirty)
    return {**tree, f"{ROOT}/fresh.py": b"FRESH = 1\n"}


def write_mailbox(home: Path, steps: Sequence[tuple[str, Tree]], origin: Tree = OLDER) -> Path:
    git = Git.create(home / "origin", origin)
    for message, tree in steps:
        git.commit(tree, message)
    mailbox = home / "in.mbox"
    mailbox.write_bytes(git.mailbox())
    return mailbox


def start(capsys: pytest.CaptureFixture[str], home: Path, *words: str | Path) -> Said:
    return call(capsys, "import", home / "in.mbox", "--base", f"{DISTRIBUTION}==1.0",
                "--name", "fork", "--edit", *words)  # fmt: skip


def go_on(capsys: pytest.CaptureFixture[str], step: str = "--continue") -> Said:
    return call(capsys, "import", "--name", "fork", step)


def work_tree(home: Path) -> Git:
    (place,) = (path for path in (home / "cache" / "work").iterdir() if path.is_dir())
    return Git(place)


def resolve(git: Git, line: str = RESOLVED, *, add: bool = True) -> None:
    """Take the release's side of the one conflict in the engine, with this line for line 30."""
    text = (git.folder / ENGINE).read_text()
    head, _, rest = text.partition("<<<<<<< ")
    ours, _, rest = rest.partition("\n")[2].partition("||||||| ")
    tail = rest.partition(">>>>>>> ")[2].partition("\n")[2]
    assert "<<<<<<< " not in tail
    (git.folder / ENGINE).write_text(head + ours.replace(engine_line(30), line) + tail)
    if add:
        git.run("add", ENGINE)


def applied(home: Path) -> Mapping[str, bytes]:
    """Return what git makes of the release with the stack's patches."""
    git = Git.create(home / "judge", RELEASE_1)
    for patch in sorted((home / "patches" / "fork").glob("*.patch")):
        git.run("am", "--quiet", "--keep-non-patch", patch)
    listed = git.run("ls-files", "-z").decode().split("\0")[:-1]
    return {path: (git.folder / path).read_bytes() for path in listed}


def test_one_hunk_that_does_not_apply_stops_in_a_work_tree(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mailbox(home, STEPS)
    said = start(capsys, home)
    assert said.code == 1, said.err
    assert "conflict  0002-Four-places.patch" in said.out
    assert "in that folder: vllm-patchkit import --continue (or --skip)" in said.err
    assert "<<<<<<< to ||||||| is upstream's side, ======= to >>>>>>> the patch's" in said.err
    assert not (home / "patches").exists()
    # git itself refuses one hunk of this patch, in the same file, and takes the rest.
    git = Git.create(home / "rejects", RELEASE_1)
    diff = Git(home / "origin").run("diff", "HEAD~2", "HEAD~1")
    git.run("apply", "--reject", "-", data=diff, check=False)
    assert [path.name for path in git.folder.rglob("*.rej")] == ["engine.py.rej"]
    assert (git.folder / f"{ENGINE}.rej").read_bytes().count(b"\n@@ ") == 1
    tree = work_tree(home)
    assert tree.run("status", "--short").decode().splitlines() == [
        f"UU {ENGINE}", f"M  {REQUEST}", f"M  {SAMPLER}",
    ]  # fmt: skip
    text = (tree.folder / ENGINE).read_text()
    assert text.count("<<<<<<< ") == 1
    hunk = (git.folder / f"{ENGINE}.rej").read_text().partition("\n@@ ")[2].partition("\n")[2]
    assert hunk in text
    resolve(tree)
    said = go_on(capsys)
    assert said.code == 0, said.err
    assert not tree.folder.exists()
    assert list(read_patches(home / "patches" / "fork")) == NAMES
    assert applied(home) == expected()
    form = "--format=%an|%ae|%ad|%s"
    assert Git(home / "judge").run("log", form, "base..") == Git(home / "origin").run(
        "log", form, "base.."
    )
    assert call(capsys, "refresh", "fork", "--check").code == 0


def test_without_edit_it_says_that_there_is_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mailbox = write_mailbox(home, STEPS)
    said = call(capsys, "import", mailbox, "--base", f"{DISTRIBUTION}==1.0", "--name", "fork")
    assert (said.code, "--edit stops at what does not apply" in said.err) == (1, True), said.err


def test_skip_drops_the_patch_and_keeps_the_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mailbox(home, STEPS)
    start(capsys, home)
    said = go_on(capsys, "--skip")
    assert said.code == 0, said.err
    assert list(read_patches(home / "patches" / "fork")) == [
        "0001-Fresh.patch", "0002-Forty.patch",
    ]  # fmt: skip
    tree = changed(RELEASE_1, ENGINE, engine_line(40), FORTY)
    assert applied(home) == {**tree, f"{ROOT}/fresh.py": b"FRESH = 1\n"}


@pytest.mark.parametrize("add", [True, False])
def test_abort_leaves_no_stack_and_remembers_what_was_resolved(
    home: Path, capsys: pytest.CaptureFixture[str], add: bool
) -> None:
    write_mailbox(home, STEPS)
    start(capsys, home)
    tree = work_tree(home)
    resolve(tree, add=add)
    said = go_on(capsys, "--abort")
    assert said.code == 0, said.err
    assert not tree.folder.exists()
    assert not (home / "patches").exists()
    said = start(capsys, home)
    assert said.code == 0, said.err
    assert "0002-Four-places.patch: resolved as before" in said.err
    assert applied(home) == expected()


def test_it_goes_on_inside_the_work_tree_and_only_when_resolved(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mailbox(home, STEPS)
    start(capsys, home, "--dir", home / "wt")
    said = start(capsys, home)
    assert (said.code, "open in a work tree already (import)" in said.err) == (2, True), said.err
    monkeypatch.chdir(home / "wt")
    said = call(capsys, "import", "--continue")
    assert (said.code, "not resolved yet" in said.err) == (1, True), said.err
    resolve(Git(home / "wt"))
    said = call(capsys, "import", "--continue")
    assert said.code == 0, said.err
    assert applied(home) == expected()


def test_a_commit_of_ones_own_in_the_work_tree_is_taken(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mailbox(home, STEPS)
    start(capsys, home)
    tree = work_tree(home)
    resolve(tree)
    tree.run("commit", "--quiet", "-m", "[Core] In my words")
    said = go_on(capsys)
    assert said.code == 0, said.err
    assert "0002-Core-In-my-words.patch" in read_patches(home / "patches" / "fork")
    assert applied(home) == expected()


def test_the_loss_of_the_cache_loses_no_work(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mailbox(home, STEPS)
    start(capsys, home, "--dir", home / "wt")
    resolve(Git(home / "wt"))
    shutil.rmtree(home / "cache" / "git")
    (home / "in.mbox").unlink()
    said = go_on(capsys)
    assert said.code == 0, said.err
    assert applied(home) == expected()


@pytest.mark.parametrize("place", ["stop_at_conflict", "_lay_out", "recall"])
def test_a_start_that_was_ended_can_be_taken_up(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Called again it starts anew, or refuses with the way on; no patch is lost either way."""
    write_mailbox(home, STEPS)
    with monkeypatch.context() as patched:
        patched.setattr(stopping, place, end)
        with pytest.raises(Ended):
            start(capsys, home)
    said = start(capsys, home)
    if place != "stop_at_conflict":
        assert (said.code, "--continue, --skip or --abort" in said.err) == (2, True), said.err
        assert go_on(capsys).code == 1
    resolve(work_tree(home))
    said = go_on(capsys)
    assert said.code == 0, said.err
    assert applied(home) == expected()


@pytest.mark.parametrize(("module", "place"), [(resuming, "found_stack"), (session, "publish")])
def test_a_continue_that_was_ended_goes_on(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    place: str,
) -> None:
    write_mailbox(home, STEPS)
    start(capsys, home)
    resolve(work_tree(home))
    with monkeypatch.context() as patched:
        patched.setattr(module, place, end)
        with pytest.raises(Ended):
            go_on(capsys)
    said = go_on(capsys)
    assert said.code == 0, said.err
    assert applied(home) == expected()


def test_ended_right_after_the_stack_took_its_place(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mailbox(home, STEPS)
    start(capsys, home)
    resolve(work_tree(home))
    with monkeypatch.context() as patched:
        patched.setattr(publish, "replace_folder", exchange_and_end)
        call(capsys, "import", "--name", "fork", "--continue")
    said = go_on(capsys)
    assert said.code == 0, said.err
    assert applied(home) == expected()
    said = go_on(capsys)
    assert (said.code, "is not being imported" in said.err) == (2, True)


def status_after(
    home: Path, capsys: pytest.CaptureFixture[str], origin: Tree, tree: Tree
) -> list[str]:
    write_mailbox(home, [("One", tree)], origin)
    said = start(capsys, home)
    assert said.code == 1, said.err
    return work_tree(home).run("status", "--short").decode().splitlines()


def test_a_new_file_that_is_there_is_a_conflict(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = {path: data for path, data in RELEASE_1.items() if path != REQUEST}
    assert status_after(home, capsys, origin, {**origin, REQUEST: b"OTHER = 1\n"}) == [
        f"AA {REQUEST}"
    ]


def test_a_deleted_file_that_is_another_is_a_conflict(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = {**RELEASE_1, REQUEST: RELEASE_1[REQUEST].replace(b"return 3\n", b"return 4\n")}
    tree = {path: data for path, data in RELEASE_1.items() if path != REQUEST}
    assert status_after(home, capsys, origin, tree) == [f"UD {REQUEST}"]


def test_context_that_differs_is_no_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """git apply refuses it, so it stops, although a merge of the lines alone would be clean."""
    origin = changed(RELEASE_1, ENGINE, engine_line(27), "def other(): return 0\n")
    tree = changed(origin, ENGINE, engine_line(30), "THIRTY = 30\n")
    assert status_after(home, capsys, origin, tree) == [f"UU {ENGINE}"]


def test_what_the_release_has_already_is_dropped_and_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    has = changed(OLDER, ENGINE, OLD_LINE, engine_line(30))
    fresh = {**has, f"{ROOT}/fresh.py": b"FRESH = 1\n"}
    write_mailbox(home, [("Has it", has), ("Fresh", fresh)])
    said = start(capsys, home)
    assert said.code == 0, said.err
    assert "the release has this change already" in said.err
    assert "upstream  0001-Has-it.patch" in said.out
    assert list(read_patches(home / "patches" / "fork")) == ["0001-Fresh.patch"]


def test_nothing_left_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mailbox(home, [STEPS[1]])
    start(capsys, home)
    said = go_on(capsys, "--skip")
    assert (said.code, "no patch is left" in said.err) == (1, True), said.err
    assert go_on(capsys, "--abort").code == 0


def test_what_no_work_tree_can_settle_is_refused_before(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diffs = {
        "csrc.patch": b"--- a/csrc/x.cu\n+++ b/csrc/x.cu\n@@ -1 +1 @@\n-a\n+b\n",
        "engine.patch": f"--- a/{ENGINE}\n+++ b/{ENGINE}\n@@ -1 +1 @@\n-nothing\n+b\n".encode(),
    }  # fmt: skip
    folder = write_tree(home / "diffs", diffs)
    words = (folder, "--base", f"{DISTRIBUTION}==1.0", "--name", "fork", "--edit")
    said = call(capsys, "import", *words)
    assert (said.code, "1 of the changes cannot be imported" in said.err) == (1, True), said.err
    assert not (home / "cache" / "work").exists()
    # The rest of it waits in the work tree, and what was left out is kept through it.
    assert call(capsys, "import", *words, "--python-only").code == 1
    tree = work_tree(home)
    (tree.folder / ENGINE).write_text("b\n")
    tree.run("add", ENGINE)
    said = go_on(capsys)
    assert said.code == 0, said.err
    assert (home / "patches" / "fork" / "left-out" / "csrc.diff").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--continue"], "this is not the work tree of an import"),
        (["--name", "fork", "--abort"], "fork is not being imported"),
        (["in.mbox", "--name", "fork", "--skip"], "has its patches already"),
        (["in.mbox", "--name", "fork", "--edit"], "--base must be given"),
        (["--edit"], "PATH, --base, --name must be given"),
        (["in.mbox", "--base", "tiny-llm==1.0", "--name", "fork", "--edit", "--split", "file"],
         "--edit takes the patches as they are"),
    ],
)  # fmt: skip
def test_mistakes_are_usage_errors(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write_mailbox(home, STEPS)
    said = call(capsys, "import", *words)
    assert (said.code, message in said.err) == (2, True), said.err
