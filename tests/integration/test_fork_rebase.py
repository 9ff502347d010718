"""rebase: conflicts, resumption, verdicts, styles; git's own rebase is the oracle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    SAMPLER,
    Git,
    Said,
    Tree,
    call,
    changed,
    engine_line,
    exchange_and_end,
    make_stack,
    numbered,
    put_release,
    read_patches,
)

# Long enough to be recognised anywhere in a file.
ADDED = "def added_by_the_fork(argument): return argument * 2\n"

STEP_1 = changed(RELEASE_1, ENGINE, engine_line(5), engine_line(5) + ADDED)
STEP_2 = changed(STEP_1, REQUEST, "def request_3(): return 3\n", "def request_3(): return 33\n")
STEP_3 = changed(STEP_2, SAMPLER, "def sampler_9(): return 9\n", "def sampler_9(): return 99\n")
STEP_4 = {**STEP_3, f"{ROOT}/v1/fresh.py": b"FRESH = True\n"}
STEPS = [("One", STEP_1), ("Two", STEP_2), ("Three", STEP_3), ("Four", STEP_4)]
NAMES = ["0001-One.patch", "0002-Two.patch", "0003-Three.patch", "0004-Four.patch"]

# One: ten lines lower. Two: upstream changed the line another way. Three: merged upstream.
RELEASE_2 = dict(RELEASE_1)
RELEASE_2[ENGINE] = b"# moved\n" * 10 + RELEASE_1[ENGINE]
RELEASE_2 = changed(
    RELEASE_2, REQUEST, "def request_3(): return 3\n", "def request_3(): return 4\n"
)
RELEASE_2 = changed(
    RELEASE_2, SAMPLER, "def sampler_9(): return 9\n", "def sampler_9(): return 99\n"
)


@pytest.fixture
def stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    put_release(home / "cache", "2.0", RELEASE_2)
    put_release(home / "cache", "1.1", {**RELEASE_1, f"{ROOT}/other.py": b"O = 1\n"})
    return make_stack(capsys, home, STEPS)


def rebase(capsys: pytest.CaptureFixture[str], stack: Path, *words: str | Path) -> Said:
    return call(capsys, "rebase", stack, *words)


def work_tree(home: Path) -> Git:
    (place,) = (path for path in (home / "cache" / "work").iterdir() if path.is_dir())
    return Git(place)


def reports(said: Said) -> list[dict[str, object]]:
    return json.loads(said.out)["reports"]


def test_clean_rebase_keeps_every_change(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_patches(stack)
    said = rebase(capsys, stack, "--onto", "1.1")
    assert said.code == 0, said.err
    assert read_patches(stack) == before
    assert 'version = "1.1"' in (stack / "stack.toml").read_text()
    lock = json.loads((stack / "lock.json").read_bytes())
    assert lock["base_version"] == "1.1"
    assert list(lock["known"]) == ["1.0"]


def test_survey_says_which_patch_breaks_where(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in stack.iterdir()}
    said = rebase(capsys, stack, "--dry-run", "--onto", "1.1", "--onto", "2.0", "--json")
    assert said.code == 1
    found = {
        release: {item["patch"]: item["status"] for item in items}
        for release, items in json.loads(said.out)["releases"].items()
    }
    assert found == {
        "1.1": dict.fromkeys(NAMES, "clean"),
        "2.0": dict(zip(NAMES, ["moved", "conflict", "upstream", "clean"], strict=True)),
    }
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before
    table = rebase(capsys, stack, "--dry-run", "--onto", "1.1", "--onto", "2.0", "--markdown").out
    assert "| 0002 Two | clean | conflict 1 |" in table
    text = rebase(capsys, stack, "--dry-run", "--onto", "2.0").out
    assert f"{ENGINE}: hunks moved by +10 lines" in text
    assert "1 of 4 patches conflict, in 1 places" in text


def test_conflict_shows_place_and_both_sides(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = rebase(capsys, stack, "--onto", "2.0", "--json")
    assert said.code == 1
    assert reports(said)[-1]["conflicts"] == [
        {
            "path": REQUEST,
            "kind": "contents",
            "line": 4,
            "upstream": "def request_3(): return 4\n",
            "base": "def request_3(): return 3\n",
            "patch": "def request_3(): return 33\n",
        }
    ]


def test_resolution_is_continued_and_only_then_written(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in stack.iterdir()}
    assert rebase(capsys, stack, "--onto", "2.0").code == 1
    git = work_tree(home)
    assert git.run("status", "--porcelain").decode() == f"UU {REQUEST}\n"
    early = rebase(capsys, stack, "--continue")
    assert (early.code, "not resolved yet" in early.err) == (1, True)
    data = RELEASE_2[REQUEST].replace(b"request_3(): return 4", b"request_3(): return 44")
    (git.folder / REQUEST).write_bytes(data)
    git.run("add", REQUEST)
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before
    said = rebase(capsys, stack, "--continue")
    assert said.code == 0, said.err
    assert list(read_patches(stack)) == ["0001-One.patch", "0002-Two.patch", "0003-Four.patch"]
    assert not git.folder.exists()
    oracle = Git.create(home / "oracle", RELEASE_2)
    for patch in read_patches(stack).values():
        oracle.run("am", "--quiet", data=patch)
    assert (oracle.folder / REQUEST).read_bytes() == data
    assert ADDED.encode() in (oracle.folder / ENGINE).read_bytes()
    assert (oracle.folder / f"{ROOT}/v1/fresh.py").read_bytes() == b"FRESH = True\n"
    assert b"Ada Lovelace|Fri, 2 Jan 2026 03:04:05 +0530" in oracle.run(
        "log", "--format=%an|%aD", "base.."
    )
    assert call(capsys, "undo", stack).out == "undone: rebase onto tiny-llm 2.0\n"
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before


def test_ended_right_after_the_exchange_it_is_finished_by_continue(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new stack is in place, its work tree still there."""

    assert rebase(capsys, stack, "--onto", "2.0").code == 1
    git = work_tree(home)
    data = RELEASE_2[REQUEST].replace(b"request_3(): return 4", b"request_3(): return 44")
    (git.folder / REQUEST).write_bytes(data)
    git.run("add", REQUEST)
    with monkeypatch.context() as patched:
        patched.setattr("vllm_patchkit.fork.publish.replace_folder", exchange_and_end)
        assert rebase(capsys, stack, "--continue").code == 130
    there = read_patches(stack)
    assert list(there) == ["0001-One.patch", "0002-Two.patch", "0003-Four.patch"]
    said = rebase(capsys, stack, "--continue")
    assert said.code == 0, said.err
    assert read_patches(stack) == there
    assert not git.folder.exists()
    assert call(capsys, "undo", stack).out == "undone: rebase onto tiny-llm 2.0\n"


def test_result_is_that_of_git_rebase(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rebase(capsys, stack, "--onto", "2.0").code == 1
    assert rebase(capsys, stack, "--skip").code == 0
    origin = Git(home / "origin")
    origin.run("checkout", "--quiet", "-b", "next", "base")
    origin.commit(RELEASE_2, "release 2")
    origin.run("rebase", "--quiet", "--onto", "next", "base", "main", check=False)
    origin.run("rebase", "--skip")
    oracle = Git.create(home / "oracle", RELEASE_2)
    for patch in read_patches(stack).values():
        oracle.run("am", "--quiet", data=patch)
    assert oracle.run("rev-parse", "HEAD^{tree}") == origin.run("rev-parse", "main^{tree}")
    assert oracle.run("log", "--format=%s", "base..").split() == [b"Four", b"One"]


def test_conflict_markers_left_in_are_refused(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rebase(capsys, stack, "--onto", "2.0")
    work_tree(home).run("add", "--all")
    said = rebase(capsys, stack, "--continue")
    assert (said.code, f"{REQUEST} still holds conflict markers" in said.err) == (1, True)


def test_resolution_that_the_user_committed_is_taken(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rebase(capsys, stack, "--onto", "2.0")
    git = work_tree(home)
    git.run("checkout", "--quiet", "--theirs", ".")
    git.run("add", "--all")
    git.run("cherry-pick", "--continue")
    assert rebase(capsys, stack, "--continue").code == 0
    assert "+def request_3(): return 33" in (stack / "0002-Two.patch").read_text()


def test_resolution_without_a_change_counts_as_upstream(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rebase(capsys, stack, "--onto", "2.0")
    git = work_tree(home)
    git.run("checkout", "--quiet", "--ours", ".")
    git.run("add", "--all")
    said = rebase(capsys, stack, "--continue", "--json")
    assert said.code == 0, said.err
    assert [item["status"] for item in reports(said)] == ["moved", "upstream", "upstream", "clean"]


def test_abort_leaves_everything_as_it_was(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in stack.iterdir()}
    rebase(capsys, stack, "--onto", "2.0")
    git = work_tree(home)
    assert rebase(capsys, stack, "--abort").code == 0
    assert not git.folder.exists()
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before
    assert rebase(capsys, stack, "--abort").code == 2


def test_result_that_does_not_compile_is_not_written(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_patches(stack)
    rebase(capsys, stack, "--onto", "2.0")
    git = work_tree(home)
    (git.folder / REQUEST).write_bytes(b"def broken(:\n")
    git.run("add", "--all")
    said = rebase(capsys, stack, "--continue")
    assert said.code == 1
    assert f"0002-Two.patch: {REQUEST}: line 1" in said.err
    assert read_patches(stack) == before
    git.run("checkout", "--quiet", "refs/patchkit/head")
    (git.folder / REQUEST).write_bytes(RELEASE_2[REQUEST] + b"X = 1\n")
    git.run("commit", "--quiet", "--all", "--fixup=HEAD~1")
    git.run("rebase", "--quiet", "--interactive", "--autosquash", "refs/patchkit/base")
    said = rebase(capsys, stack, "--continue")
    assert said.code == 0, said.err
    assert "+X = 1" in (stack / "0002-Two.patch").read_text()


def test_rebase_into_another_folder_keeps_the_old_stack(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in stack.iterdir()}
    said = rebase(capsys, stack, "--onto", "1.1", "--into", home / "patches" / "next")
    assert said.code == 0, said.err
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before
    assert read_patches(home / "patches" / "next") == read_patches(stack)


def test_rebase_onto_a_tag_of_a_checkout(
    stack: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = {**RELEASE_2, "setup.py": b"", "tests/test_x.py": b""}
    git = Git.create(home / "checkout", extra)
    git.run("tag", "v2.0")
    head = git.run("rev-parse", "HEAD")
    said = rebase(capsys, stack, "--dry-run", "--onto", "v2.0", "--checkout", git.folder, "--json")
    (items,) = json.loads(said.out)["releases"].values()
    assert [item["status"] for item in items] == ["moved", "conflict", "upstream", "clean"]
    assert git.run("rev-parse", "HEAD") == head
    wrong = rebase(capsys, stack, "--dry-run", "--onto", "v9", "--checkout", git.folder)
    assert (wrong.code, "cannot take v9" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--onto is missing"),
        (["--onto", "1.0"], "is on tiny-llm 1.0 already"),
        (["--onto", "1.1", "--onto", "2.0", "--checkout", "."], "--checkout goes with one"),
        (["--continue"], "is not being rebased"),
        (["--onto", "1.1", "--normalise"], "the style of tiny-llm is not known"),
        (["--onto", "1.1", "--formatter", "no-such-formatter"], "which is not installed"),
    ],
)
def test_mistakes_are_named(
    stack: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    said = rebase(capsys, stack, *words)
    assert said.code in (2, 3)
    assert message in said.err


def test_unknown_release_is_an_environment_error(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = rebase(capsys, stack, "--dry-run", "--onto", "9.9")
    assert said.code == 3
    assert "pip cannot download a wheel of tiny-llm 9.9" in said.err


def verdicts(
    home: Path, capsys: pytest.CaptureFixture[str], ours: Tree, release: Tree
) -> list[str]:
    put_release(home / "cache", "3.0", release)
    stack = make_stack(capsys, home, [("Ours", ours)], name="judged")
    said = rebase(capsys, stack, "--dry-run", "--onto", "3.0", "--json")
    (items,) = json.loads(said.out)["releases"].values()
    return [hunk["verdict"] for item in items for hunk in item["hunks"]]


def test_hunk_still_needed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = {**RELEASE_1, ENGINE: b"# moved\n" * 3 + RELEASE_1[ENGINE]}
    assert verdicts(home, capsys, STEP_1, release) == ["still needed"]


def test_hunk_merged_upstream(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = {**STEP_1, ENGINE: b"# moved\n" * 3 + STEP_1[ENGINE]}
    assert verdicts(home, capsys, STEP_1, release) == ["merged upstream"]


@pytest.mark.parametrize("mode", ["100644", "100755"])
def test_a_mode_in_an_index_line_keeps_no_merged_change_alive(
    mode: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """git apply reads the mode of an index line and changes none; so the patch is upstream."""
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(STEP_1, "Ours")
    diff = git.run("diff", "base", "HEAD").decode().replace(" 100644\n", f" {mode}\n")
    assert f" {mode}\n" in diff
    (home / "one.diff").write_text(diff)
    said = call(capsys, "import", home / "one.diff", "--base", "tiny-llm==1.0", "--name", "moded")
    assert said.code == 0, said.err
    put_release(home / "cache", "3.0", STEP_1)
    said = rebase(capsys, home / "patches/moded", "--dry-run", "--onto", "3.0", "--json")
    (items,) = json.loads(said.out)["releases"].values()
    assert [item["status"] for item in items] == ["upstream"]


def test_hunk_partly_merged(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = "def another_addition(argument): return argument * 3\n"
    ours = changed(STEP_1, ENGINE, engine_line(8), engine_line(8) + second)
    release = changed(RELEASE_1, ENGINE, engine_line(8), engine_line(8) + second)
    assert verdicts(home, capsys, ours, release) == ["partly merged"]


def test_hunk_that_would_apply_twice(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = changed(RELEASE_1, ENGINE, engine_line(40), engine_line(40) + ADDED)
    assert verdicts(home, capsys, STEP_1, release) == ["would apply twice"]


def test_hunk_moved_to_another_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = RELEASE_1[ENGINE].splitlines(keepends=True)
    release = {**RELEASE_1, ENGINE: b"".join(lines[20:]), f"{ROOT}/core.py": b"".join(lines[:20])}
    assert verdicts(home, capsys, STEP_1, release) == ["moved to another file"]


def test_rename_upstream_is_followed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = dict(RELEASE_1)
    release[f"{ROOT}/v1/core.py"] = release.pop(ENGINE)
    assert verdicts(home, capsys, STEP_1, release) == ["moved to another file"]
    said = rebase(capsys, home / "patches/judged", "--onto", "3.0")
    assert said.code == 0, said.err
    patch = (home / "patches/judged/0001-Ours.patch").read_text()
    assert f"--- a/{ROOT}/v1/core.py\n" in patch
    assert f"+{ADDED}" in patch


def test_file_deleted_upstream_is_a_conflict(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = {path: data for path, data in RELEASE_1.items() if path != ENGINE}
    put_release(home / "cache", "3.0", release)
    stack = make_stack(capsys, home, [("Ours", STEP_1)])
    said = rebase(capsys, stack, "--onto", "3.0", "--json")
    assert said.code == 1
    (report,) = reports(said)
    assert [(item["path"], item["kind"]) for item in report["conflicts"]] == [
        (ENGINE, "deleted upstream")
    ]
    git = work_tree(home)
    git.run("add", "--all")
    assert rebase(capsys, stack, "--continue").code == 0


YAPF = b"""\
from typing import Optional
from tiny_llm.engine import engine_1, engine_2

VALUE = {'one': 1,
         'two': 2}


def call_it(first: Optional[int], second: Optional[int],
            third: Optional[int]) -> Optional[int]:
    return engine_1(first,
                    second) + engine_2(third,
                                       first)


def tail():
    return 'tail'
"""
STYLE = """\
target-version = "py310"
[lint]
select = ["UP045", "I", "F401"]
[lint.isort]
known-first-party = ["tiny_llm"]
"""
RUFF_STYLED = b"""\
from tiny_llm.engine import engine_0, engine_1, engine_2

VALUE = {"one": 1, "two": 2}


def call_it(first: int | None, second: int | None, third: int | None) -> int | None:
    return engine_1(first, second) + engine_2(third, first)


def tail():
    return "tail", engine_0
"""


def styled_stack(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return a stack whose base is written by hand and whose next release was formatted."""
    path = f"{ROOT}/styled.py"
    base = {**RELEASE_1, path: YAPF}
    put_release(home / "cache", "1.5", base)
    put_release(home / "cache", "1.6", {**base, path: RUFF_STYLED})
    ours = YAPF.replace(b"engine_2(third,", b"engine_2(third or 7,").replace(
        b"engine_1, engine_2\n", b"engine_1, engine_2, engine_3\n"
    ).replace(b"    return 'tail'\n", b"    engine_3()\n    return 'tail'\n")  # fmt: skip
    git = Git.create(home / "origin", base)
    git.commit({**base, path: ours}, "Ours")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD"))
    (home / "ruff.toml").write_text(STYLE)
    said = call(capsys, "import", home / "x.diff", "--base", "tiny-llm==1.5", "--name", "styled",
                "--into", home / "patches")  # fmt: skip
    assert said.code == 0, said.err
    return home / "patches" / "styled"


def test_normalising_leaves_only_what_means_something(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = styled_stack(home, capsys)
    plain = rebase(capsys, stack, "--dry-run", "--onto", "1.6", "--json")
    assert len(json.loads(plain.out)["releases"]["1.6"][0]["conflicts"]) >= 2
    words = ("--onto", "1.6", "--style-config", home / "ruff.toml", "--json")
    said = rebase(capsys, stack, "--dry-run", *words)
    (report,) = json.loads(said.out)["releases"]["1.6"]
    assert [(item["upstream"], item["patch"]) for item in report["conflicts"]] == [
        ('    return "tail", engine_0\n', '    engine_3()\n    return "tail"\n')
    ]
    assert rebase(capsys, stack, *words).code == 1
    git = work_tree(home)
    text = (git.folder / ROOT / "styled.py").read_text()
    assert "from tiny_llm.engine import engine_0, engine_1, engine_2, engine_3\n" in text
    assert "engine_2(third or 7, first)" in text
    assert text.count("<<<<<<<") == 1
    (git.folder / ROOT / "styled.py").write_bytes(
        RUFF_STYLED.replace(b"engine_2\n", b"engine_2, engine_3\n", 1)
        .replace(b"engine_2(third,", b"engine_2(third or 7,")
        .replace(b"    return \"tail\"", b"    engine_3()\n    return \"tail\"")
    )  # fmt: skip
    git.run("add", "--all")
    assert rebase(capsys, stack, "--continue").code == 0
    patch = (stack / "0001-Change-x.patch").read_text()
    changes = [
        line
        for line in patch.splitlines()
        if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")
    ]
    assert changes == [
        "-from tiny_llm.engine import engine_0, engine_1, engine_2",
        "+from tiny_llm.engine import engine_0, engine_1, engine_2, engine_3",
        "-    return engine_1(first, second) + engine_2(third, first)",
        "+    return engine_1(first, second) + engine_2(third or 7, first)",
        "+    engine_3()",
    ]


def test_release_that_is_not_in_its_own_style_keeps_its_bytes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{ROOT}/styled.py"
    stack = styled_stack(home, capsys)
    # Formatted but for one line, far from what the patch changes.
    crooked = RUFF_STYLED.replace(b'VALUE = {"one": 1, "two": 2}', b"VALUE = { 'one':1 }").replace(
        b'"tail", engine_0', b'"tail"'
    ).replace(b"engine_0, ", b"")  # fmt: skip
    put_release(home / "cache", "1.7", {**RELEASE_1, path: crooked})
    words = ("--onto", "1.7", "--style-config", home / "ruff.toml")
    said = rebase(capsys, stack, *words)
    assert said.code == 0, said.out
    oracle = Git.create(home / "oracle", {**RELEASE_1, path: crooked})
    for patch in read_patches(stack).values():
        oracle.run("am", "--quiet", data=patch)
    text = (oracle.folder / path).read_bytes()
    assert b"VALUE = { 'one':1 }\n" in text
    assert b"engine_2(third or 7, first)" in text


def test_long_stack_of_one_file_survives(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees = [
        {
            **RELEASE_1,
            ENGINE: numbered(
                "engine", 60, **{f"f{k * 4 + 2}": f"E{k} = {k}" for k in range(n + 1)}
            ),
        }
        for n in range(12)
    ]
    release = {**RELEASE_1, ENGINE: b"# moved\n" * 5 + RELEASE_1[ENGINE]}
    put_release(home / "cache", "3.0", release)
    stack = make_stack(capsys, home, [(f"Step {n}", tree) for n, tree in enumerate(trees)])
    assert rebase(capsys, stack, "--onto", "3.0").code == 0
    oracle = Git.create(home / "oracle", release)
    for patch in read_patches(stack).values():
        oracle.run("am", "--quiet", data=patch)
    assert (oracle.folder / ENGINE).read_bytes() == b"# moved\n" * 5 + trees[-1][ENGINE]


UNSORTED = b"import sys\nimport os\n\n\ndef main(): return os, sys\n"


def test_a_file_that_merges_better_as_it_is_is_merged_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An import after unsorted ones: git merges it plainly, and sorting would make a conflict."""
    path = f"{ROOT}/unsorted.py"
    base = {**RELEASE_1, path: UNSORTED}
    upstream = {**RELEASE_1, path: UNSORTED.replace(b"return os, sys", b"return sys, os")}
    put_release(home / "cache", "1.5", base)
    put_release(home / "cache", "1.6", upstream)
    ours = UNSORTED.replace(b"import os\n", b"import os\n\nfrom a.b import c\n")
    git = Git.create(home / "origin", base)
    git.commit({**base, path: ours}, "Ours")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD"))
    words = ("import", home / "x.diff", "--base", "tiny-llm==1.5", "--name", "fork")
    assert call(capsys, *words, "--into", home / "patches").code == 0
    stack = home / "patches" / "fork"
    assert rebase(capsys, stack, "--dry-run", "--onto", "1.6").code == 0
    # A formatter that puts a comment of its own before each line: nothing merges in its style.
    tool = home / "formatter"
    tool.write_text(
        "#!/bin/sh\nfind \"$1\" -name '*.py' | while read f; do\n"
        '  md5sum < "$f" | sed \'s/^/# /\' > "$f.new"; cat "$f" >> "$f.new"\n'
        '  md5sum < "$f" | sed \'s/^/# /\' >> "$f.new"; mv "$f.new" "$f"; done\n'
    )
    tool.chmod(0o755)
    said = rebase(capsys, stack, "--dry-run", "--onto", "1.6", "--formatter", tool)
    assert said.code == 0, said.out
    assert "merged as it is written" in said.out
    assert "hunks moved" not in said.out
    said = rebase(capsys, stack, "--onto", "1.6", "--formatter", tool)
    assert said.code == 0, said.out
    oracle = Git.create(home / "oracle", upstream)
    for patch in read_patches(stack).values():
        oracle.run("am", "--quiet", data=patch)
    assert (oracle.folder / path).read_bytes() == ours.replace(b"os, sys", b"sys, os")


def test_a_file_of_boilerplate_is_no_place_that_lines_moved_to(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Upstream dropped the lines; another module has the same boilerplate, as many have."""
    boilerplate = (
        b"import torch_of_some_kind\nimport numpy_of_some_kind\nlogger = make_logger(__name__)\n"
    )
    paths = [f"{ROOT}/m{number}.py" for number in range(3)]
    base = {**RELEASE_1, **dict.fromkeys(paths, boilerplate + b"x = 1\n")}
    put_release(home / "cache", "1.5", base)
    gone = {**base, paths[0]: b"y = 2\n", f"{ROOT}/fresh.py": boilerplate}
    put_release(home / "cache", "1.6", gone)
    git = Git.create(home / "origin", base)
    git.commit({**base, paths[0]: boilerplate.replace(b"make", b"get") + b"x = 1\n"}, "Ours")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD"))
    words = ("import", home / "x.diff", "--base", "tiny-llm==1.5", "--name", "fork")
    assert call(capsys, *words, "--into", home / "patches").code == 0
    said = rebase(capsys, home / "patches/fork", "--dry-run", "--onto", "1.6", "--json")
    (report,) = json.loads(said.out)["releases"]["1.6"]
    assert [hunk["verdict"] for hunk in report["hunks"]] == ["still needed"]
