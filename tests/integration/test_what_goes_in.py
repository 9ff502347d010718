"""What goes in comes out: cases out of reports, each judged by git."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    RELEASE_1,
    Git,
    Said,
    call,
    changed,
    engine_line,
    put_release,
    read_patches,
)
from support.messages import GIT_DIFF, QUOTED_DIFF

INIT = "tiny_llm/__init__.py"
FEATURE = changed(RELEASE_1, INIT, "A tiny engine", "A tiny engine with c")
TRAILERS = "Signed-off-by: Ada Lovelace <ada@example.org>"


def run_import(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Said:
    """Import onto release 1.0 as the stack ``fork``."""
    return call(capsys, "import", *words, "--base", "tiny-llm==1.0", "--name", "fork")


def trees_and_messages(folder: Path, stack: Path) -> list[tuple[str, str]]:
    """Return what ``git am`` makes of a stack."""
    git = Git.create(folder, RELEASE_1)
    names = (stack / "series").read_text().split()
    git.run("am", "--quiet", "--keep-non-patch", "--keep-cr", *(stack / name for name in names))
    listed = git.run("log", "--reverse", "-z", "--format=%T%n%B", "base..HEAD").decode()
    pairs = (record.partition("\n") for record in filter(None, listed.split("\0")))
    return [(tree, message) for tree, _, message in pairs]


def origin_with(home: Path, message: str) -> tuple[Git, str]:
    """Return a repository in which a commit of this message made FEATURE, and its tree."""
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(FEATURE, "x")
    git.run("commit", "--quiet", "--amend", "--cleanup=verbatim", "-F-", data=message.encode())
    return git, git.run("rev-parse", "HEAD^{tree}").decode().strip()


@pytest.mark.parametrize(
    "body",
    [f"Was:\n\n{QUOTED_DIFF}", f"Was:\n\n{GIT_DIFF}", GIT_DIFF, f"A\n\n{QUOTED_DIFF}\n{TRAILERS}",
     f"A\n\n---\n\nB\n\n{TRAILERS}", f"--- old ms 5\n+++ new ms 4\n\n{TRAILERS}",
     f"A\n\nFrom {'ab' * 20} Mon Sep 17 00:00:00 2001\n\n{TRAILERS}"],
)  # fmt: skip
def test_what_a_commit_message_quotes_stays_text(
    body: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A work tree's commit is refreshed into a patch of its tree, whatever its message quotes."""
    git, tree = origin_with(home, f"Add c\n\n{body}\n")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD"))
    assert run_import(capsys, home / "x.diff").code == 0
    assert call(capsys, "edit", "fork", "--dir", home / "work").code == 0
    work = Git(home / "work")
    work.run("commit", "--quiet", "--amend", "--cleanup=verbatim", "-F-",
             data=f"Add c\n\n{body}\n".encode())  # fmt: skip
    said = call(capsys, "refresh", "fork")
    assert said.code == 0, said.err
    assert "quoted" in said.err
    ((found, message),) = trees_and_messages(home / "am", home / "patches/fork")
    assert found == tree
    assert body.rstrip().split("\n")[-1] in message
    assert call(capsys, "refresh", "fork", "--check").code == 0
    assert call(capsys, "refresh", "fork").code == 0


def test_a_mail_that_quotes_a_diff_gives_its_commit(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tree of an imported mail is the commit's; git's own ``am`` takes the quoted diff too."""
    for number, quoted in enumerate((QUOTED_DIFF, GIT_DIFF)):
        place = home / str(number)
        git, tree = origin_with(place, f"Add c\n\nWas:\n\n{quoted}\n{TRAILERS}\n")
        (place / "x.mbox").write_bytes(git.mailbox())
        said = run_import(capsys, place / "x.mbox", "--force")
        assert said.code == 0, said.err
        assert "the message quotes a diff" in said.err
        ((found, message),) = trees_and_messages(place / "am", home / "patches/fork")
        assert found == tree
        assert TRAILERS in message


def test_a_mail_in_which_nothing_ends_the_message_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without ``---`` a quoted diff cannot be told from the patch, so nothing is imported."""
    for number, quoted in enumerate((QUOTED_DIFF, GIT_DIFF)):
        git, _ = origin_with(home / str(number), f"Add c\n\nWas:\n\n{quoted}\n{TRAILERS}\n")
        file = home / f"{number}.patch"
        file.write_bytes(git.run("format-patch", "--stdout", "--no-stat", "base..HEAD"))
        said = run_import(capsys, file)
        assert said.code == 1
        assert "nothing tells" in said.err
        assert not (home / "patches").exists()


def test_a_line_from_in_a_body_starts_no_mail(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Subject, author and date of the mail are those that git wrote at its head."""
    line = f"From {'ab' * 20} Mon Sep 17 00:00:00 2001"
    git, tree = origin_with(home, f"Add c\n\nSee\n\n{line}\n\nand on.\n")
    (home / "x.mbox").write_bytes(git.mailbox())
    said = run_import(capsys, home / "x.mbox")
    assert said.code == 0, said.err
    (patch,) = read_patches(home / "patches/fork").values()
    for header in (b"\nSubject: Add c\n", b"\nFrom: Ada Lovelace <ada@example.org>\n",
                   b"\nDate: Fri, 2 Jan 2026 03:04:05 +0530\n"):  # fmt: skip
        assert header in patch
    ((found, message),) = trees_and_messages(home / "am", home / "patches/fork")
    assert found == tree
    assert f"\n> {line}\n\nand on.\n" in message


def test_two_mails_are_two_patches_still(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line ``From`` with headers after it starts a mail."""
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(FEATURE, "One")
    git.commit(changed(FEATURE, "tiny_llm/engine.py", engine_line(5), "\n"), "Two")
    (home / "x.mbox").write_bytes(git.mailbox())
    assert run_import(capsys, home / "x.mbox").code == 0
    assert list(read_patches(home / "patches/fork")) == ["0001-One.patch", "0002-Two.patch"]


def test_the_mode_of_an_index_line_is_no_change(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``index A..B 100755`` leaves a file of mode 644 as it is, as ``git apply`` does."""
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(FEATURE, "x")
    diff = git.run("diff", "--full-index", "HEAD^", "HEAD")
    assert b" 100644\n" in diff
    diff = diff.replace(b" 100644\n", b" 100755\n")
    (home / "x.diff").write_bytes(diff)
    assert run_import(capsys, home / "x.diff").code == 0
    (patch,) = read_patches(home / "patches/fork").values()
    assert b"mode 100755" not in patch
    oracle = Git.create(home / "oracle", RELEASE_1)
    oracle.run("apply", "--index", home / "x.diff")
    tree = oracle.run("write-tree").decode().strip()
    ((found, _),) = trees_and_messages(home / "am", home / "patches/fork")
    assert found == tree


def feature_diff(home: Path) -> bytes:
    """Return git's diff of FEATURE."""
    git, _ = origin_with(home, "x\n")
    return git.run("diff", "--full-index", "HEAD^", "HEAD")


@pytest.mark.parametrize(
    ("encode", "word"),
    [
        (lambda text: codecs.BOM_UTF16_LE + text.decode().encode("utf-16-le"), "UTF-16-LE"),
        (lambda text: codecs.BOM_UTF16_BE + text.decode().encode("utf-16-be"), "UTF-16-BE"),
        (lambda text: text.decode().encode("utf-16-le"), "UTF-16-LE"),
        (lambda text: text.replace(b"\n", b"\r\n").decode().encode("utf-16"), "UTF-16-LE"),
    ],
)
def test_utf_16_is_understood(
    encode: object, word: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What PowerShell's ``>`` makes of a diff gives the patch that the diff gives."""
    diff = feature_diff(home)
    (home / "d").mkdir()
    (home / "d/x.patch").write_bytes(encode(diff))  # type: ignore[operator]
    said = run_import(capsys, home / "d")
    assert said.code == 0, said.err
    assert word in said.err
    written = read_patches(home / "patches/fork")
    (home / "d/x.patch").write_bytes(diff)
    assert run_import(capsys, home / "d", "--force").code == 0
    assert read_patches(home / "patches/fork") == written


def test_colours_are_taken_off(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``git diff --color`` into a file gives the patch that the diff gives."""
    git, tree = origin_with(home, "x\n")
    (home / "x.patch").write_bytes(git.run("diff", "--color=always", "HEAD^", "HEAD"))
    said = run_import(capsys, home / "x.patch")
    assert said.code == 0, said.err
    assert "colours" in said.err
    ((found, _),) = trees_and_messages(home / "am", home / "patches/fork")
    assert found == tree


def test_a_byte_order_mark_is_no_subject(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A BOM before ``diff`` is not in the patch's name."""
    (home / "x.patch").write_bytes(codecs.BOM_UTF8 + feature_diff(home))
    assert run_import(capsys, home / "x.patch").code == 0
    assert list(read_patches(home / "patches/fork")) == ["0001-Change-x.patch"]


def test_a_series_that_lists_no_diff_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What quilt would apply and import cannot read ends the import; line and file are named."""
    (home / "q").mkdir()
    (home / "q/a.patch").write_bytes(feature_diff(home))
    (home / "q/b.patch").write_bytes(b"just words\n")
    (home / "q/series").write_bytes(b"a.patch\n# no\nb.patch\n")
    said = run_import(capsys, home / "q")
    assert said.code == 1
    assert "series:3: b.patch holds no diff" in said.err


def test_mails_and_files_without_a_diff_are_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cover letter and a file of words are left out by name."""
    git, _ = origin_with(home, "Add c\n\nBody.\n")
    (home / "d").mkdir()
    out = git.run("format-patch", "--stdout", "--cover-letter", "base..HEAD")
    assert b"[PATCH 0/1]" in out
    (home / "d/a.patch").write_bytes(out)
    (home / "d/b.diff").write_bytes(b"just words\n")
    said = run_import(capsys, home / "d")
    assert said.code == 0, said.err
    assert "a.patch (mail 1): left out: no diff is in the mail" in said.err
    assert "b.diff: left out: no line in it starts a diff" in said.err
    assert len(read_patches(home / "patches/fork")) == 1


def test_what_import_writes_lint_and_refresh_accept(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``[PATCH]`` in a quilt header is no part of the subject."""
    (home / "x.patch").write_bytes(b"Subject: [PATCH] Add c\n\n" + feature_diff(home))
    assert run_import(capsys, home / "x.patch").code == 0
    assert list(read_patches(home / "patches/fork")) == ["0001-Add-c.patch"]
    assert call(capsys, "refresh", "fork", "--check").code == 0
    said = call(capsys, "lint", "fork")
    assert "S105" not in said.out


def test_no_license_is_asserted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody said which license the patches have, so stack.toml does not say it."""
    (home / "x.patch").write_bytes(feature_diff(home))
    assert run_import(capsys, home / "x.patch").code == 0
    assert "license" not in (home / "patches/fork/stack.toml").read_text()


def test_files_without_a_diff_are_called_that(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint for files of words is not about how they are named."""
    (home / "d").mkdir()
    (home / "d/b.diff").write_bytes(b"just words\n")
    said = run_import(capsys, home / "d")
    assert said.code == 2
    assert "starts a diff" in said.err
    assert "files end in" not in said.err


def hint_of(said: Said) -> str:
    """Return the hint that a command ended with."""
    return next((line for line in said.err.splitlines() if line.startswith("hint: ")), "")


def test_hints_name_the_cause(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A combined diff and a binary one are not a matter of the release."""
    file = home / "x.patch"
    binary = b"Binary files a/tiny_llm/x.png and b/tiny_llm/x.png differ\n"
    file.write_bytes(binary + feature_diff(home))
    assert "source text only" in hint_of(run_import(capsys, file))
    file.write_bytes(feature_diff(home / "again") + binary)
    assert "source text only" in hint_of(run_import(capsys, file))
    combined = b"diff --cc tiny_llm/engine.py\nindex 1234567,2345678..3456789\n"
    file.write_bytes(feature_diff(home / "third") + combined)
    assert "first parent" in hint_of(run_import(capsys, file))


def test_fuzz_is_offered_where_it_would_place_everything(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GNU patch places one of two hunks with fuzz, so --fuzz is no way to import the patch."""
    path = "tiny_llm/engine.py"
    near = changed(RELEASE_1, path, engine_line(7), "def engine_7(): return 'other'\n")
    git = Git.create(home / "origin", near)
    git.commit(changed(near, path, engine_line(10), "TEN = 10\n"), "One")
    one = git.run("diff", "HEAD^", "HEAD")
    (home / "one.patch").write_bytes(one)
    assert "allow them with --fuzz" in hint_of(run_import(capsys, home / "one.patch"))
    (home / "two.patch").write_bytes(
        one
        + b"--- a/tiny_llm/v1/request.py\n+++ b/tiny_llm/v1/request.py\n@@ -1 +1 @@\n-no\n+yes\n"
    )
    hint = hint_of(run_import(capsys, home / "two.patch"))
    assert "is this the release" in hint
    assert "--fuzz would place 1 of 2" in hint


def test_a_patch_with_lf_on_a_file_with_crlf_has_right_line_numbers(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the line ends are said to be others."""
    path = "tiny_llm/data/windows.txt"
    git = Git.create(home / "origin", RELEASE_1)
    git.commit(changed(RELEASE_1, path, "line 7\r\n", "seven\r\n"), "x")
    (home / "x.diff").write_bytes(git.run("diff", "HEAD^", "HEAD").replace(b"\r\n", b"\n"))
    said = run_import(capsys, home / "x.diff")
    assert said.code == 0, said.err
    assert "line ends" in said.err
    assert "line numbers" not in said.err


def test_code_in_the_data_folder_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The wheel has the file, in a place that patches do not reach."""
    folder = "tiny_llm-3.0.data/purelib/"
    put_release(home / "cache", "3.0", {f"{folder}{path}": RELEASE_1[path] for path in RELEASE_1})
    (home / "x.diff").write_bytes(feature_diff(home))
    said = call(capsys, "import", home / "x.diff", "--base", "tiny-llm==3.0", "--name", "f")
    assert said.code == 1
    assert "keeps its code in tiny_llm-3.0.data/purelib/" in said.err


def test_names_of_two_files_in_a_deep_folder_do_not_collide(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a name is too long for git, folders are left out and never the file's own name."""
    deep = "tiny_llm/distributed/kv_transfer/kv_connector/v1"
    base = {
        **RELEASE_1,
        **{f"{deep}/{name}_connector.py": b"X = 1\n" for name in ("nixl", "multi")},
    }
    put_release(home / "cache", "2.0", base)
    git = Git.create(home / "origin", base)
    for name in ("nixl", "multi"):
        git.commit(changed(base, f"{deep}/{name}_connector.py", "X = 1", "X = 2"), "x")
        file = home / "d" / f"{deep}/{name}_connector.py.patch"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(git.run("diff", "base", "HEAD"))
    said = call(capsys, "import", home / "d", "--base", "tiny-llm==2.0", "--name", "f")
    assert said.code == 0, said.err
    names = list(read_patches(home / "patches/f"))
    assert [name.rpartition("-")[2] for name in names] == ["multi_connector.py.patch",
                                                           "nixl_connector.py.patch"]  # fmt: skip
    assert max(map(len, names)) <= 63


def test_a_file_that_diff_found_on_one_side_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``diff -r`` without ``-N`` says no more of a new file than where it is."""
    (home / "x.diff").write_bytes(b"Only in b/tiny_llm: fresh.py\n" + feature_diff(home))
    said = run_import(capsys, home / "x.diff")
    assert said.code == 0, said.err
    assert "left out: Only in b/tiny_llm: fresh.py" in said.err


def test_what_stands_after_the_end_of_a_message_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Remarks between ``---`` and the diff are no part of the message to git; import says so."""
    git, tree = origin_with(home, "Add c\n\nBody.\n")
    remark = b"---\nChanges in v2: spelling\n tiny_llm"
    (home / "x.mbox").write_bytes(git.mailbox().replace(b"---\n tiny_llm", remark))
    assert remark in (home / "x.mbox").read_bytes()
    said = run_import(capsys, home / "x.mbox")
    assert said.code == 0, said.err
    assert "'Changes in v2: spelling'" in said.err
    ((found, message),) = trees_and_messages(home / "am", home / "patches/fork")
    assert found == tree
    assert "spelling" not in message


def test_a_carriage_return_in_a_line_ends_no_line(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A removed ``--`` after a line with a CR in it is no end of the message; git agrees."""
    path = "tiny_llm/engine.py"
    tree = changed(RELEASE_1, path, engine_line(7), "a = 1\r-- b\n--\n")
    put_release(home / "cache", "2.0", tree)
    git = Git.create(home / "origin", tree)
    git.commit(changed(tree, path, "a = 1\r-- b\n--\n", "a = 2\r---\n"), "x")
    (home / "x.mbox").write_bytes(git.mailbox())
    words = ("import", home / "x.mbox", "--base", "tiny-llm==2.0", "--name", "fork")
    said = call(capsys, *words)
    assert said.code == 0, said.err
    oracle = Git.create(home / "oracle", tree)
    oracle.run("am", "--quiet", "--keep-cr", *sorted((home / "patches/fork").glob("*.patch")))
    found = oracle.run("rev-parse", "HEAD^{tree}")
    assert found == git.run("rev-parse", "HEAD^{tree}")
