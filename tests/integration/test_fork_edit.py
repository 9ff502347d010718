"""edit, refresh and undo, against git in a repository of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
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
    call,
    changed,
    engine_line,
    exchange_and_end,
    make_stack,
    read_patches,
)
from vllm_patchkit.stack.read import read_stack

STEP_1 = changed(RELEASE_1, ENGINE, engine_line(5), engine_line(5) + "A = 1\n")
STEP_2 = changed(STEP_1, REQUEST, "def request_3(): return 3\n", "B = 2\n")
STEP_3 = changed(STEP_2, ENGINE, engine_line(50), "C = 3\n")
STEPS = [
    ("[Core] Add A\n\nBecause.\n\nSubsystem: fork\nOrigin: other", STEP_1),
    ("[V1] Put B for request 3\n\nBecause.", STEP_2),
    ("[Core] Put C for engine 50\n\nBecause.", STEP_3),
]


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    return make_stack(capsys, home, STEPS)


@pytest.fixture
def work_tree(stack: Path, capsys: pytest.CaptureFixture[str]) -> Git:
    said = call(capsys, "edit", stack)
    assert said.code == 0, said.err
    return Git(Path(said.out.strip()))


def refresh(capsys: pytest.CaptureFixture[str], stack: Path) -> Said:
    return call(capsys, "refresh", stack)


def test_work_tree_has_one_commit_a_patch(work_tree: Git) -> None:
    log = work_tree.run("log", "--reverse", "--format=%s|%an <%ae>|%ad", "refs/patchkit/base..")
    assert log.decode().splitlines() == [
        f"{message.splitlines()[0]}|Ada Lovelace <ada@example.org>|Fri Jan 2 03:04:05 2026 +0530"
        for message, _ in STEPS
    ]
    for path, data in STEP_3.items():
        assert (work_tree.folder / path).read_bytes() == data


def test_refresh_of_nothing_changes_no_byte(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in stack.iterdir()}
    assert refresh(capsys, stack).code == 0
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before


def test_patches_are_what_git_format_patch_writes(work_tree: Git, stack: Path, home: Path) -> None:
    work_tree.run(
        "format-patch", "--zero-commit", "--full-index", "--keep-subject", "--no-stat",
        "--no-signature", "-o", home / "oracle", "refs/patchkit/base..",
    )  # fmt: skip
    assert read_patches(stack) == read_patches(home / "oracle")


def test_amending_one_commit_changes_one_file(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_patches(stack)
    file = work_tree.folder / REQUEST
    file.write_bytes(file.read_bytes().replace(b"B = 2\n", b"B = 22\n"))
    work_tree.run("commit", "--all", "--quiet", "--fixup=HEAD^")
    work_tree.run("rebase", "--quiet", "--interactive", "--autosquash", "refs/patchkit/base")
    said = refresh(capsys, stack)
    assert said.code == 0
    after = read_patches(stack)
    assert [name for name in after if after[name] != before[name]] == [
        "0002-V1-Put-B-for-request-3.patch"
    ]
    assert "+B = 22" in after["0002-V1-Put-B-for-request-3.patch"].decode()
    assert "3 patches, 2 unchanged" in said.out


def test_reordering_and_dropping_rename_files(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_tree.run("reset", "--quiet", "--hard", "HEAD~3")
    work_tree.run("cherry-pick", "refs/patchkit/start~1")
    work_tree.run("cherry-pick", "refs/patchkit/start~2")
    said = refresh(capsys, stack)
    assert said.code == 0, said.err
    assert list(read_patches(stack)) == [
        "0001-V1-Put-B-for-request-3.patch",
        "0002-Core-Add-A.patch",
    ]
    assert "dropped  0003-Core-Put-C-for-engine-50.patch" in said.out


def test_detached_head_is_refreshed(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_tree.run("checkout", "--quiet", "--detach", "HEAD^")
    assert refresh(capsys, stack).code == 0
    assert len(read_patches(stack)) == 2


@pytest.mark.parametrize("name", [ENGINE, f"{ROOT}/fresh.py"])
def test_dirty_work_tree_is_refused(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (work_tree.folder / name).write_bytes(b"dirty = True\n")
    before = read_patches(stack)
    said = refresh(capsys, stack)
    assert said.code == 1
    assert f"uncommitted changes: {name}" in said.err
    assert read_patches(stack) == before


def test_a_renamed_file_is_named_by_both_its_names(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """git says a rename in two fields, of which the second has no status before it."""
    work_tree.run("mv", REQUEST, f"{ROOT}/v1/renamed.py")
    said = refresh(capsys, stack)
    assert said.code == 1
    assert f"uncommitted changes: {ROOT}/v1/renamed.py, {REQUEST}\n" in said.err


def test_unfinished_git_operation_is_refused(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_tree.run("checkout", "--quiet", "refs/patchkit/base")
    work_tree.run("cherry-pick", "refs/patchkit/start", check=False)
    (work_tree.folder / ".git" / "CHERRY_PICK_HEAD").write_text("0" * 40 + "\n")
    said = refresh(capsys, stack)
    assert said.code == 1
    assert "a cherry-pick is in progress" in said.err


def test_merge_commit_is_refused(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_tree.run("checkout", "--quiet", "-b", "side", "HEAD^")
    (work_tree.folder / "tiny_llm/side.py").write_bytes(b"S = 1\n")
    work_tree.run("add", "--all")
    work_tree.run("commit", "--quiet", "-m", "Side")
    work_tree.run("merge", "--quiet", "--no-edit", "refs/patchkit/start")
    said = refresh(capsys, stack)
    assert said.code == 1
    assert "is a merge" in said.err


def test_empty_commit_is_refused(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_tree.run("commit", "--quiet", "--allow-empty", "-m", "Nothing")
    said = refresh(capsys, stack)
    assert said.code == 1
    assert "(Nothing) changes no file" in said.err


def test_head_off_the_base_is_refused(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_tree.run("checkout", "--quiet", "--orphan", "lost")
    work_tree.run("commit", "--quiet", "-m", "Lost")
    said = refresh(capsys, stack)
    assert said.code == 1
    assert "no longer below HEAD" in said.err


def test_stack_changed_by_somebody_else_is_refused(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stack / "README.md").write_text("new\n")
    said = refresh(capsys, stack)
    assert said.code == 1
    assert "was changed since the work tree was opened" in said.err


def test_second_work_tree_is_refused_until_the_first_is_closed(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(capsys, "edit", stack)
    assert (said.code, "is open in a work tree already" in said.err) == (2, True)
    assert f"{work_tree.folder}\nhint: go on there, then refresh" in said.err
    assert call(capsys, "edit", stack, "--close").code == 0
    assert not work_tree.folder.exists()
    said = call(capsys, "edit", stack)
    assert (said.code, "then: vllm-patchkit refresh, and at the end edit --close" in said.err) == (
        0, True,
    )  # fmt: skip


def test_close_keeps_commits_that_are_not_in_the_stack(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_tree.run("reset", "--quiet", "--hard", "HEAD^")
    said = call(capsys, "edit", stack, "--close")
    assert said.code == 1
    assert work_tree.folder.is_dir()
    assert call(capsys, "edit", stack, "--close", "--force").code == 0


def test_work_tree_outlives_the_cache(
    work_tree: Git, stack: Path, home: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    moved = home / "elsewhere"
    work_tree.folder.rename(moved)
    subprocess.run(["rm", "-rf", home / "cache" / "git"], check=True)
    git = Git(moved)
    git.run("reset", "--quiet", "--hard", "HEAD^")
    monkeypatch.chdir(moved)
    said = call(capsys, "refresh")
    assert said.code == 0, said.err
    assert len(read_patches(stack)) == 2


def test_probes_follow_their_patches(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = stack / "stack.toml"
    probe = '\n[[probe]]\npatch = "{}"\nimports = ["tiny_llm"]\nexpression = "1 + 1 == 2"\n'
    metadata.write_text(metadata.read_text() + probe.format("0001") + probe.format("0002"))
    git = Git(Path(call(capsys, "edit", stack).out.strip()))
    git.run("reset", "--quiet", "--hard", "HEAD~3")
    git.run("cherry-pick", "refs/patchkit/start~1")
    assert refresh(capsys, stack).code == 0
    probes = read_stack(stack).probes
    assert [probe.patch for probe in probes if probe.expression == "1 + 1 == 2"] == ["0001"]


def test_undo_goes_back_operation_by_operation(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = [read_patches(stack)]
    for _ in range(2):
        work_tree.run("reset", "--quiet", "--hard", "HEAD^")
        assert refresh(capsys, stack).code == 0
        states.append(read_patches(stack))
    for state in reversed(states[:-1]):
        assert call(capsys, "undo", stack).out == "undone: refresh\n"
        assert read_patches(stack) == state
    said = call(capsys, "undo", stack)
    assert "undone: import 3 patches" in said.out
    assert not stack.exists()


def test_undo_refuses_to_lose_edits_by_hand(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stack / "series").write_bytes((stack / "series").read_bytes() + b"# note\n")
    said = call(capsys, "undo", stack)
    assert (said.code, "was changed by hand since" in said.err) == (2, True)
    assert call(capsys, "undo", stack, "--force").code == 0


def test_refresh_check_names_a_file_that_git_would_write_otherwise(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "refresh", stack, "--check").code == 0
    name = "0002-V1-Put-B-for-request-3.patch"
    data = (stack / name).read_bytes().replace(b"Because.", b"Because.  ")
    (stack / name).write_bytes(data)
    said = call(capsys, "refresh", stack, "--check")
    assert (said.code, said.out.split()[0]) == (1, name)
    assert (stack / name).read_bytes() == data


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_refresh_does_not_depend_on_the_machine(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str], zone: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = read_patches(stack)
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("GIT_DIFF_OPTS", "--unified=0")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    (work_tree.folder / ".git" / "config").write_text(
        (work_tree.folder / ".git" / "config").read_text()
        + "[diff]\n\tnoprefix = true\n\tcontext = 1\n\talgorithm = patience\n"
        "[format]\n\tattach = x\n\tto = nobody@example.org\n\tsignature = me\n\tnotes = true\n"
    )
    assert refresh(capsys, stack).code == 0
    assert read_patches(stack) == before


def test_odd_files_survive(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = changed(RELEASE_1, f"{ROOT}/data/windows.txt", "line 7\r\n", "line seven\r\n")
    second = changed(first, f"{ROOT}/data/latin.py", "caf\xe9", "caf\xe9s")
    third = changed(second, f"{ROOT}/data/a name.py", "def spaced_5(): return 5\n", "")
    fourth = {**third, f"{ROOT}/data/no_end.py": b"X = 1"}
    steps = [("CRLF", first), ("Latin", second), ("Space", third), ("No \xe9nd", fourth)]
    stack = make_stack(capsys, home, steps)
    before = read_patches(stack)
    git = Git(Path(call(capsys, "edit", stack).out.strip()))
    for path, data in fourth.items():
        assert (git.folder / path).read_bytes() == data
    assert refresh(capsys, stack).code == 0
    assert read_patches(stack) == before


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", [30, 80, 140, 220, 320, 450, 600, 800])
def test_killed_refresh_leaves_the_old_stack_or_the_new(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str], delay_ms: int
) -> None:
    old = {path.name: path.read_bytes() for path in stack.iterdir()}
    work_tree.run("reset", "--quiet", "--hard", "HEAD^")
    argv = [sys.executable, "-m", "vllm_patchkit", "refresh", str(stack)]
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child.wait(delay_ms / 1000)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    now = {path.name: path.read_bytes() for path in stack.iterdir()}
    assert now == old or len(read_patches(stack)) == 2
    said = refresh(capsys, stack)
    assert said.code == 0, said.err
    assert len(read_patches(stack)) == 2
    assert call(capsys, "undo", stack).code == 0
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == old


def test_ended_right_after_the_exchange_a_refresh_can_be_repeated(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new stack is in place and nothing else was done: it is the work tree's own doing."""

    work_tree.run("reset", "--quiet", "--hard", "HEAD^")
    with monkeypatch.context() as patched:
        patched.setattr("vllm_patchkit.fork.publish.replace_folder", exchange_and_end)
        assert refresh(capsys, stack).code == 130
    assert len(read_patches(stack)) == 2
    said = refresh(capsys, stack)
    assert said.code == 0, said.err
    work_tree.run("reset", "--quiet", "--hard", "HEAD^")
    assert refresh(capsys, stack).code == 0
    assert len(read_patches(stack)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", [100, 300, 500, 900])
def test_killed_edit_can_be_repeated(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str], delay_ms: int
) -> None:
    argv = [sys.executable, "-m", "vllm_patchkit", "edit", str(stack)]
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child.wait(delay_ms / 1000)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    said = call(capsys, "edit", stack)
    # The killed one may have got as far as opening it.
    assert said.code == 0 or "is open in a work tree already" in said.err
    assert not list((home / "cache" / "work").glob(".patchkit-*"))
    assert call(capsys, "refresh", stack).code == 0
    assert len(read_patches(stack)) == len(STEPS)


def test_read_only_folder_is_reported(
    work_tree: Git, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes to read-only folders")
    work_tree.run("reset", "--quiet", "--hard", "HEAD^")
    stack.parent.chmod(0o555)
    try:
        assert refresh(capsys, stack).code == 3
    finally:
        stack.parent.chmod(0o755)


def test_probes_of_patches_of_one_subject_stay_with_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {**STEP_1, f"{ROOT}/more.py": b"M = 1\n"}
    stack = make_stack(capsys, home, [("Change", STEP_1), ("Change", more)])
    assert [probe.patch for probe in read_stack(stack).probes] == ["0001", "0002"]
    tree = Git(Path(call(capsys, "edit", stack).out.strip()))
    head = tree.run("rev-parse", "HEAD").decode().strip()
    tree.run("reset", "--quiet", "--hard", "refs/patchkit/base")
    (tree.folder / ROOT / "first.py").write_bytes(b"F = 1\n")
    tree.run("add", ".")
    tree.run("commit", "--quiet", "-m", "First")
    tree.run("cherry-pick", f"refs/patchkit/base..{head}")
    assert refresh(capsys, stack).code == 0
    probes = {probe.patch: probe.expression for probe in read_stack(stack).probes}
    assert probes.keys() == {"0002", "0003"}
    assert "more" in probes["0003"]


@pytest.mark.parametrize("own", [False, True])
def test_a_proposed_probe_is_of_the_patch_as_it_is_now(
    own: bool, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It looked for a line that an edit had changed; one that its author wrote is left alone."""
    more = {**STEP_1, f"{ROOT}/more.py": b"M = 1\n"}
    stack = make_stack(capsys, home, [("Change", STEP_1), ("Add more", more)])
    metadata = stack / "stack.toml"
    (said,) = [probe for probe in read_stack(stack).probes if probe.patch == "0002"]
    assert "'M'" in said.expression
    if own:
        metadata.write_text(metadata.read_text().replace(said.expression, "2 > 1"))
    tree = Git(Path(call(capsys, "edit", stack).out.strip()))
    (tree.folder / ROOT / "more.py").write_bytes(b"N = 1\n")
    tree.run("commit", "--quiet", "--all", "--amend", "--no-edit")
    assert refresh(capsys, stack).code == 0
    (now,) = [probe for probe in read_stack(stack).probes if probe.patch == "0002"]
    assert now.expression == ("2 > 1" if own else said.expression.replace("'M'", "'N'"))
    assert refresh(capsys, stack).out.count("2 unchanged") == 1


def test_range_diff_needs_an_earlier_version(
    home: Path, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An import is the first one; what was edited by hand since the last one does no harm."""
    said = call(capsys, "range-diff", stack)
    assert said.code == 2
    assert f"there is no earlier version of {stack}" in said.err
    assert "--rev or --other" in said.err
    work = Git(Path(call(capsys, "edit", stack).out.strip()))
    work.run("commit", "--quiet", "--amend", "-m", "[Core] Put C elsewhere\n\nBecause.")
    assert refresh(capsys, stack).code == 0
    metadata = stack / "stack.toml"
    metadata.write_text(metadata.read_text() + "# a remark\n")
    before = metadata.read_text()
    said = call(capsys, "range-diff", stack, "--summary")
    assert said.code == 0, said.err
    assert " ! 3:" in said.out
    assert metadata.read_text() == before
