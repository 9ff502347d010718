"""import of every layout: the tree that the stack leaves is the tree that its author had."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    AUTHOR,
    DISTRIBUTION,
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
    numbered,
    put_release,
    read_patches,
    write_tree,
)
from vllm_patchkit.cli import parse_call

EDITED = changed(
    changed(
        changed(RELEASE_1, ENGINE, engine_line(5), "FIVE = 5\n"),
        ENGINE,
        engine_line(45),
        "",
    ),
    REQUEST,
    "def request_3(): return 3\n",
    "THREE = 3\n",
)
FEATURE = {**EDITED, f"{ROOT}/v1/fresh.py": b"FRESH = True\n"}


def run_import(
    capsys: pytest.CaptureFixture[str], home: Path, *words: str | Path, name: str = "fork"
) -> Said:
    return call(
        capsys, "import", *words, "--base", f"{DISTRIBUTION}==1.0", "--name", name,
        "--into", home / "patches",
    )  # fmt: skip


def applied(home: Path, name: str = "fork") -> Tree:
    """Return what GNU patch makes of the release with the imported patches."""
    tree = write_tree(home / f"applied-{name}", RELEASE_1)
    patches = sorted((home / "patches" / name).glob("*.patch"))
    assert patches
    for patch in patches:
        argv = ["patch", "-p1", "--fuzz=0", "--quiet", "--binary", "-i", str(patch)]
        done = subprocess.run(argv, cwd=tree, capture_output=True, check=False)
        assert not done.returncode, done.stdout
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file()
    }


def origin(home: Path, tree: Tree) -> Git:
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(tree, "Feature")
    return git


def write_folder(home: Path, diffs: Mapping[str, bytes]) -> Path:
    return write_tree(home / "diffs", diffs)


PER_FILE = {
    "plain": [],
    "no-prefix": ["--no-prefix"],
    "relative": [f"--relative={ROOT}"],
    "relative-no-prefix": [f"--relative={ROOT}", "--no-prefix"],
    "deep": ["--src-prefix=a/src/", "--dst-prefix=b/src/"],
}


@pytest.mark.parametrize("layout", PER_FILE)
def test_folder_of_one_diff_a_file(
    home: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    git = origin(home, FEATURE)
    paths = ["engine.py", "v1/request.py", "v1/fresh.py"]
    words = ("--full-index", *PER_FILE[layout], "HEAD^", "HEAD", "--")
    diffs = {f"{path}.patch": git.run("diff", *words, f"{ROOT}/{path}") for path in paths}
    assert all(diffs.values())
    said = run_import(capsys, home, write_folder(home, diffs))
    assert said.code == 0, said.err
    assert applied(home) == FEATURE
    assert list(read_patches(home / "patches" / "fork")) == [
        "0001-Change-engine.py.patch",
        "0002-Change-v1-fresh.py.patch",
        "0003-Change-v1-request.py.patch",
    ]


def one_diff(home: Path, tree: Tree, *words: str) -> bytes:
    return origin(home, tree).run("diff", "--full-index", "--binary", *words, "HEAD^", "HEAD")


@pytest.mark.parametrize(
    ("words", "strip"),
    [
        ([], None),
        (["--no-prefix"], "0"),
        (["--no-prefix"], None),
        (["--src-prefix=old/x/", "--dst-prefix=new/x/"], "2"),
    ],
)
def test_single_diff_at_any_level(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], strip: str | None
) -> None:
    file = home / "feature.diff"
    file.write_bytes(one_diff(home, FEATURE, *words))
    options = ["-p", strip] if strip else []
    said = run_import(capsys, home, file, *options, "--squash", "[Core] Add the feature")
    assert said.code == 0, said.err
    assert applied(home) == FEATURE
    assert list(read_patches(home / "patches" / "fork")) == ["0001-Core-Add-the-feature.patch"]


def test_diff_of_gnu_diff(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(home / "old", RELEASE_1)
    write_tree(home / "new", FEATURE)
    done = subprocess.run(
        ["diff", "-urN", "old", "new"], cwd=home, capture_output=True, check=False
    )
    (home / "gnu.patch").write_bytes(b"A description\nof the thing.\n\n" + done.stdout)
    said = run_import(capsys, home, home / "gnu.patch")
    assert said.code == 0, said.err
    assert applied(home) == FEATURE
    assert (
        "Subject: A description\n"
        in (home / "patches" / "fork" / "0001-A-description.patch").read_text()
    )


def test_mailbox_keeps_authors_dates_and_tags(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(EDITED, "[Core] Edit\n\nBody.\n\nOrigin: vendor")
    git.commit(FEATURE, "[V1][Bugfix] Fr\xe4sh")
    git.run(
        "commit", "--quiet", "--amend", "--no-edit",
        "--author=J\xf6rg M\xfcller <joerg@example.org>", "--date=2020-02-29T23:59:59-0800",
    )  # fmt: skip
    (home / "series.mbox").write_bytes(git.mailbox())
    said = run_import(capsys, home, home / "series.mbox")
    assert said.code == 0, said.err
    assert applied(home) == FEATURE
    again = Git.create(home / "again", RELEASE_1)
    for patch in sorted((home / "patches" / "fork").glob("*.patch")):
        again.run("am", "--quiet", "--keep-non-patch", patch)
    form = "--format=%an|%ae|%ad|%s"
    assert again.run("log", form, "base..") == git.run("log", form, "base..")
    text = (home / "patches/fork/0001-Core-Edit.patch").read_text()
    assert "Origin: vendor\n" in text
    assert "Origin: other" not in text


def test_quilt_series(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(home / "tree", RELEASE_1)

    def quilt(*words: str) -> None:
        subprocess.run(["quilt", "--quiltrc=-", *words], cwd=home / "tree", check=True,
                       capture_output=True)  # fmt: skip

    quilt("new", "first.patch")
    quilt("add", ENGINE, REQUEST)
    write_tree(home / "tree", EDITED)
    quilt("refresh", "-p0")
    quilt("new", "-p1", "second.patch")
    quilt("add", f"{ROOT}/v1/fresh.py")
    write_tree(home / "tree", FEATURE)
    quilt("refresh", "-p1")
    assert "-p0" in (home / "tree/patches/series").read_text()
    said = run_import(capsys, home, home / "tree" / "patches")
    assert said.code == 0, said.err
    assert applied(home) == FEATURE
    assert len(read_patches(home / "patches" / "fork")) == 2


def test_reversed_quilt_patch_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(home, {"series": b"one.patch -R\n", "one.patch": b""})
    said = run_import(capsys, home, folder)
    assert said.code == 1
    assert "series:1: the option -R is not supported" in said.err


def test_offset_is_corrected_and_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older = {**RELEASE_1, ENGINE: b"# gone\n" * 7 + RELEASE_1[ENGINE]}
    git = Git.create(home / "older", older)
    git.commit(changed(older, ENGINE, engine_line(30), "THIRTY = 30\n"), "x")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD"))
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 0, said.err
    assert "hunk 1 moved by -7 lines, to line 28" in said.err
    assert applied(home) == changed(RELEASE_1, ENGINE, engine_line(30), "THIRTY = 30\n")


def fuzzy_diff(home: Path) -> Path:
    older = changed(RELEASE_1, ENGINE, engine_line(27), "def other(): return 0\n")
    git = Git.create(home / "older", older)
    git.commit(changed(older, ENGINE, engine_line(30), "THIRTY = 30\n"), "x")
    (home / "x.diff").write_bytes(git.run("diff", "--no-prefix", "HEAD^", "HEAD"))
    return home / "x.diff"


def test_fuzz_is_refused_and_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_import(capsys, home, fuzzy_diff(home))
    assert said.code == 1
    assert "does not match at line 28" in said.err
    assert "it would fit ignoring context (fuzz 1)" in said.err
    assert "--fuzz N" in said.err
    assert not (home / "patches").exists()


def test_fuzz_is_reported_where_it_is_allowed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run_import(capsys, home, fuzzy_diff(home), "--fuzz", "1", "--json")
    assert said.code == 0, said.err
    notes = json.loads(said.out)["notes"]
    assert [note["kind"] for note in notes if note["kind"] == "fuzz"] == ["fuzz"]
    assert applied(home) == changed(RELEASE_1, ENGINE, engine_line(30), "THIRTY = 30\n")


def test_blob_known_from_another_release_is_merged_three_way(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = changed(RELEASE_1, ENGINE, engine_line(29), "def old(): return 0\n")
    put_release(home / "cache", "0.9", older)
    git = Git.create(home / "older", older)
    git.commit(changed(older, ENGINE, engine_line(33), "T = 30\n"), "x")
    (home / "x.diff").write_bytes(git.run("diff", "--full-index", "-U5", "HEAD^", "HEAD"))
    call(capsys, "import", home / "x.diff", "--base", f"{DISTRIBUTION}==0.9", "--name", "old",
         "--into", home / "patches")  # fmt: skip
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 0, said.err
    assert "merged three-way" in said.err
    assert applied(home) == changed(RELEASE_1, ENGINE, engine_line(33), "T = 30\n")


def test_change_that_the_release_has_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = changed(RELEASE_1, ENGINE, engine_line(30), "OLD = 30\n")
    git = Git.create(home / "older", older)
    git.commit(RELEASE_1, "x")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD"))
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 1
    assert "tiny_llm/engine.py: the release has this change already" in said.err


def test_every_reason_for_refusal_is_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diffs = {
        "csrc.patch": b"--- a/csrc/x.cu\n+++ b/csrc/x.cu\n@@ -1 +1 @@\n-a\n+b\n",
        "engine.patch": f"--- a/{ROOT}/engine.py\n+++ b/{ROOT}/engine.py\n"
        "@@ -1 +1 @@\n-nothing like it\n+b\n".encode(),
        "link.patch": f"diff --git a/{ROOT}/l b/{ROOT}/l\nnew file mode 120000\n"
        "index 0000000..1de5659\n--- /dev/null\n"
        f"+++ b/{ROOT}/l\n@@ -0,0 +1 @@\n+target\n\\ No newline at end of file\n".encode(),
        "binary.patch": f"diff --git a/{ROOT}/x.png b/{ROOT}/x.png\nnew file mode 100644\n"
        "index 0000000..1de5659\n"
        f"Binary files /dev/null and b/{ROOT}/x.png differ\n".encode(),
    }
    said = run_import(capsys, home, write_folder(home, diffs))
    assert said.code == 1
    assert "4 of the changes cannot be imported" in said.err
    assert "csrc.patch: tiny-llm 1.0's wheel does not ship csrc/x.cu" in said.err
    assert "engine.patch: tiny_llm/engine.py: hunk 1 (-1,1) does not match at line 1" in said.err
    assert "a symbolic link" in said.err
    assert "a binary change cannot be applied" in said.err
    hint = said.err.partition("\nhint: ")[2]
    assert ("--python-only" in hint, "--edit" in hint) == (True, True)
    assert not (home / "patches").exists()


def test_python_only_leaves_out_what_the_wheel_does_not_ship(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = {**RELEASE_1, "csrc/kernel.cu": b"int x;\n", "tests/v1/request.py": b"X = 1\n"}
    git = Git.create(home / "origin", extra)
    full = {**FEATURE, "csrc/kernel.cu": b"int y;\n", "tests/v1/request.py": b"X = 2\n",
            "tests/v1/fresh.py": b"Y = 1\n"}  # fmt: skip
    git.commit(full, "Feature")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD"))
    assert run_import(capsys, home, home / "x.diff").code == 1
    said = run_import(capsys, home, home / "x.diff", "--python-only")
    assert said.code == 0, said.err
    for name in ("csrc/kernel.cu", "tests/v1/request.py", "tests/v1/fresh.py"):
        assert f"left out: not in the wheel of tiny-llm 1.0: {name}" in said.err
    assert applied(home) == FEATURE
    # What was left out is kept, survives a refresh, and goes upstream with the rest.
    stack = home / "patches" / "fork"
    kept = (stack / "left-out" / "x.diff").read_bytes()
    assert call(capsys, "refresh", stack).code == 0
    assert call(capsys, "lint", stack, "--ignore", "S108").err.count("finding") == 1
    assert (stack / "left-out" / "x.diff").read_bytes() == kept
    assert call(capsys, "export", stack, "--output", home / "all.mbox").code == 0
    git.run("checkout", "--quiet", "HEAD^")
    git.run("am", "--quiet", "--keep-non-patch", home / "all.mbox")
    assert git.run("rev-parse", "HEAD^{tree}") == git.run("rev-parse", "main^{tree}")
    assert call(capsys, "export", stack, "--only", "0001", "--output", home / "one.mbox").code == 0
    assert b"kernel.cu" not in (home / "one.mbox").read_bytes()


def test_renames_and_modes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = dict(RELEASE_1)
    data = moved.pop(SAMPLER)
    moved[f"{ROOT}/v1/new sampler.py"] = data.replace(b"return 7\n", b"return 77\n")
    git = origin(home, moved)
    (git.folder / ROOT / "engine.py").chmod(0o755)
    git.run("commit", "--quiet", "--all", "--amend", "--no-edit")
    (home / "x.diff").write_bytes(git.run("diff", "-M", "HEAD^", "HEAD"))
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 0, said.err
    (patch,) = read_patches(home / "patches" / "fork").values()
    assert b"rename to tiny_llm/v1/new sampler.py\n" in patch
    assert b"old mode 100644\nnew mode 100755\n" in patch
    again = Git.create(home / "again", RELEASE_1)
    again.run("am", "--quiet", data=patch)
    assert again.run("rev-parse", "HEAD^{tree}") == git.run("rev-parse", "HEAD^{tree}")


def test_crlf_patch_of_an_lf_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diff = one_diff(home, EDITED).replace(b"\n", b"\r\n")
    (home / "x.diff").write_bytes(diff)
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 0, said.err
    assert "CRLF line ends; taken as LF" in said.err
    assert applied(home) == EDITED


def test_crlf_and_latin_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = changed(RELEASE_1, f"{ROOT}/data/windows.txt", "line 7\r\n", "line seven\r\n")
    tree = changed(tree, f"{ROOT}/data/latin.py", "caf\xe9", "caf\xe9s")
    (home / "x.diff").write_bytes(one_diff(home, tree))
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 0, said.err
    assert applied(home) == tree


def test_lf_patch_of_a_crlf_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = changed(RELEASE_1, f"{ROOT}/data/windows.txt", "line 7\r\n", "line seven\r\n")
    (home / "x.diff").write_bytes(one_diff(home, tree).replace(b"\r\n", b"\n"))
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 0, said.err
    assert "line ends made those of the file" in said.err
    assert applied(home) == tree


def test_zero_context_diff(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "x.diff").write_bytes(one_diff(home, EDITED, "-U0"))
    said = run_import(capsys, home, home / "x.diff")
    assert said.code == 0, said.err
    assert applied(home) == EDITED


def test_editor_copies_are_placed_by_the_patch_s_own_place(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = RELEASE_1[REQUEST], EDITED[REQUEST]
    write_tree(home, {"request.py.orig": old, "request.py": new})
    argv = ["diff", "-u", "request.py.orig", "request.py"]
    diff = subprocess.run(argv, cwd=home, capture_output=True, check=False).stdout
    folder = write_folder(home, {"v1/request.py.patch": diff})
    said = run_import(capsys, home, folder)
    assert said.code == 0, said.err
    assert applied(home)[REQUEST] == new


def test_same_input_gives_the_same_stack(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "x.diff").write_bytes(one_diff(home, FEATURE))
    for name in ("one", "two"):
        assert run_import(capsys, home, home / "x.diff", "--author", AUTHOR, name=name).code == 0
    assert read_patches(home / "patches/one") == read_patches(home / "patches/two")
    assert b"From: Ada Lovelace <ada@example.org>\nDate: Fri, 3 Oct 2025 12:00:00 +0000" in next(
        iter(read_patches(home / "patches/one").values())
    )


def test_existing_stack_is_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "x.diff").write_bytes(one_diff(home, FEATURE))
    assert run_import(capsys, home, home / "x.diff").code == 0
    said = run_import(capsys, home, home / "x.diff")
    assert (said.code, "exists already" in said.err) == (2, True)
    assert run_import(capsys, home, home / "x.diff", "--force").code == 0


def test_private_wheel_given_by_path_serves_later(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = put_release(home / "elsewhere", "7.7", RELEASE_1)
    (home / "x.diff").write_bytes(one_diff(home, FEATURE))
    said = call(capsys, "import", home / "x.diff", "--base", wheel, "--name", "private",
                "--into", home / "patches")  # fmt: skip
    assert said.code == 0, said.err
    assert call(capsys, "refresh", home / "patches/private", "--check").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.diff"], "there is no"),
        (["x.diff", "--base", "tiny-llm=1.0"], "does not name a release"),
        (["x.diff", "--name", "Bad Name"], "cannot name a stack"),
        (["x.diff", "--signoff"], "--signoff needs --author"),
        (["empty.diff"], "holds no patch"),
        (["x.diff", "--base", "x.whl"], "there is no wheel"),
    ],
)
def test_mistakes_are_usage_errors(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (home / "x.diff").write_bytes(b"--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n")
    (home / "empty.diff").write_bytes(b"nothing\n")
    defaults = {"--base": f"{DISTRIBUTION}==1.0", "--name": "fork"}
    options = [word for key, value in defaults.items() if key not in words for word in (key, value)]
    said = call(capsys, "import", *words, *options)
    assert said.code == 2
    assert message in said.err


def test_patches_that_build_on_each_other(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git = Git.create(home / "origin", RELEASE_1)
    trees: list[Tree] = [RELEASE_1]
    for number in range(12):
        data = numbered("engine", 60, **{f"f{k}": f"E{k} = {k}" for k in range(number + 1)})
        trees.append({**RELEASE_1, ENGINE: data})
        git.commit(trees[-1], f"Step {number}")
    diffs = {
        f"{number:02d}.diff": git.run("diff", f"HEAD~{12 - number}", f"HEAD~{11 - number}")
        for number in range(12)
    }
    said = run_import(capsys, home, write_folder(home, diffs))
    assert said.code == 0, said.err
    assert applied(home) == trees[-1]


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x1c"])
def test_what_unicode_calls_a_line_end_may_stand_in_a_subject(
    home: Path, capsys: pytest.CaptureFixture[str], end: str
) -> None:
    """To git only a LF ends a subject, so one commit with such a subject is one patch."""
    git = origin(home, EDITED)
    git.run("commit", "--quiet", "--amend", "-m", f"One{end}two")
    assert git.run("log", "--format=%s", "base..").decode() == f"One{end}two\n"
    (home / "in.patch").write_bytes(git.mailbox())
    said = run_import(capsys, home, home / "in.patch")
    assert said.code == 0, said.err
    assert len(read_patches(home / "patches" / "fork")) == 1
    assert applied(home) == EDITED


@pytest.mark.parametrize("path", [f"{ROOT}/engine.py/x.py", f"{ROOT}/v1"])
def test_a_path_is_a_file_or_a_folder(
    home: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """git refuses it, too, instead of losing the file or the folder that is there."""
    patch = home / "in.patch"
    patch.write_text(
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
        "@@ -0,0 +1 @@\n+X = 1\n"
    )
    git = Git.create(home / "origin", RELEASE_1)
    git.run("apply", "--cached", patch, check=False)
    assert git.run("diff", "--cached", "--name-only") == b""
    said = run_import(capsys, home, patch)
    assert said.code == 1
    assert f"{path}: the patch adds this file, but" in said.err
    assert not (home / "patches" / "fork").exists()


@pytest.mark.parametrize(
    "date",
    [
        "tomorrow",
        "Mon, 1 Jan 1900 00:00:00 +0000",
        "Mon, 1 Jan 2024 00:00:00 +9960",
        "Fri, 1 Jan 9999 00:00:00 +0000",
        "Fri, 1 Jan 99999999999 00:00:00 +0000",
    ],
)
def test_a_date_that_git_cannot_keep_is_refused_by_name(
    home: Path, capsys: pytest.CaptureFixture[str], date: str
) -> None:
    mail = origin(home, EDITED).mailbox()
    patch = home / "in.patch"
    patch.write_bytes(re.sub(rb"(?m)^Date: .*$", f"Date: {date}".encode(), mail))
    said = run_import(capsys, home, patch)
    assert said.code == 1
    assert f"in.patch (mail 1): not a mail date that git can keep: {date!r}" in said.err or (
        f"in.patch: not a mail date that git can keep: {date!r}" in said.err
    ), said.err


def one_line(home: Path) -> bytes:
    """Return git's diff of one changed line of engine.py."""
    tree = changed(RELEASE_1, f"{ROOT}/engine.py", engine_line(5), "FIVE = 5\n")
    return origin(home, tree).run("diff", "base..HEAD")


def test_bytes_in_a_mail_that_are_no_utf_8_are_latin_1(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Subject, author and text, without a charset: git's mailinfo takes such text for Latin-1."""
    head = "From: José <jose@example.org>\nDate: Fri, 2 Jan 2026 03:04:05 +0000\n"
    mail = f"{head}Subject: [PATCH] Café\n\nDe l'été.\n---\n".encode("latin-1")
    place = home / "a.mbox"
    place.write_bytes(mail + one_line(home))
    assert run_import(capsys, home, place).code == 0
    (patch,) = read_patches(home / "patches" / "fork").values()
    said = email.message_from_bytes(patch, policy=email.policy.default)
    assert said["Subject"] == "Café"
    assert said["From"] == "José <jose@example.org>"
    assert "De l'été.\n" in said.get_content()


def test_a_description_and_a_file_name_that_are_no_utf_8(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = os.fsencode(home / "diffs")
    Path(os.fsdecode(folder)).mkdir()
    diff = one_line(home)
    Path(os.fsdecode(folder + b"/\xe9t\xe9.diff")).write_bytes(diff)
    Path(os.fsdecode(folder + b"/\xea.diff")).write_bytes(b"no diff\n")
    said = run_import(capsys, home, home / "diffs")
    assert said.code == 0, said.err
    assert "left out  ê.diff" in said.err
    (patch,) = read_patches(home / "patches" / "fork").values()
    said_by_it = email.message_from_bytes(patch, policy=email.policy.default)
    assert said_by_it["Subject"] == "Change été"
    described = home / "described.diff"
    described.write_bytes("Description: Café\n".encode("latin-1") + diff)
    assert run_import(capsys, home, described, name="two").code == 0
    (patch,) = read_patches(home / "patches" / "two").values()
    assert email.message_from_bytes(patch, policy=email.policy.default)["Subject"] == "Café"


def test_a_file_that_git_would_take_for_binary_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = home / "nul.diff"
    place.write_bytes(one_line(home).replace(b"+FIVE", b"+\0FIVE"))
    said = run_import(capsys, home, place)
    assert said.code == 1
    assert f"nul.diff: {ROOT}/engine.py would hold a NUL" in said.err
    assert said.err.endswith("hint: stacks carry source text only\n")


def test_a_name_that_no_file_system_takes_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "x" * 253 + ".py"
    place = home / "long.diff"
    place.write_text(
        f"diff --git a/{ROOT}/{name} b/{ROOT}/{name}\nnew file mode 100644\n--- /dev/null\n"
        f"+++ b/{ROOT}/{name}\n@@ -0,0 +1 @@\n+X = 1\n"
    )
    with pytest.raises(OSError, match="File name too long"):
        (home / name).write_text("")
    said = run_import(capsys, home, place)
    assert said.code == 1
    assert "it is too long for a file system" in said.err


def test_a_folder_of_nothing_known_asks_for_releases_of_base(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--release is an option of base, not of import."""
    place = home / "my patches.diff"
    place.write_bytes(one_line(home))
    said = call(capsys, "import", place, "--base", "?")
    assert said.code == 2
    hint = said.err.splitlines()[-1].removeprefix("hint: ").partition(" fetches")[0]
    words = shlex.split(hint)
    assert words[0] == "vllm-patchkit"
    assert parse_call(words[1:]).paths == [place]
