"""A person's git settings decide nothing: every command of the fork family, with and without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    DISTRIBUTION,
    ENGINE,
    RELEASE_1,
    REQUEST,
    ROOT,
    SAMPLER,
    Git,
    call,
    changed,
    engine_line,
    put_release,
)
from vllm_patchkit.fork.folder import read_folder
from vllm_patchkit.stack.read import read_stack

ONE = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'ours'\n")
TWO = changed(ONE, f"{ROOT}/data/a name.py", "def spaced_3(): return 3\n", "def spaced_3(): pass\n")
MOVED = {path: data for path, data in TWO.items() if path != SAMPLER}
MOVED |= {f"{ROOT}/v1/caf\xe9.py": TWO[SAMPLER], f"{ROOT}/eol.txt": b"a\r\nb\n"}
OTHER = changed(RELEASE_1, REQUEST, "def request_3(): return 3\n", "def request_3(): return 33\n")
SPACED = f"{ROOT}/data/a name.py"
RELEASE_2 = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'theirs'\n")
RELEASE_2 = changed(RELEASE_2, SPACED, "def spaced_3(): return 3\n", "def spaced_3(): return 4\n")
RESOLVED = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'both'\n")[ENGINE]

# What upstream git reads from a file of settings and what would change what our commands see or
# write, if they let it. The programs named do not exist, or fail.
HOSTILE = """
[alias]
\tstatus = !false
[apply]
\twhitespace = fix
\tignoreWhitespace = change
[blame]
\tcoloring = highlightRecent
[branch]
\tautoSetupRebase = always
[cherry-pick]
\tmainline = 1
[clean]
\trequireForce = true
[color]
\tui = always
\tdiff = always
\tstatus = always
\tbranch = always
[column]
\tui = always
[commit]
\tcleanup = strip
\ttemplate = /nowhere/template
\tverbose = 2
\tstatus = false
[core]
\tabbrev = 7
\tattributesFile = {home}/attributes
\tautocrlf = true
\tcommentChar = "["
\teditor = false
\teol = crlf
\texcludesFile = {home}/excludes
\tfileMode = false
\tfsmonitor = {home}/fail
\thooksPath = {home}/hooks
\tpager = false
\tprecomposeUnicode = true
\tquotePath = false
\tsafecrlf = true
\tsshCommand = false
\twhitespace = trailing-space,tab-in-indent
[diff]
\talgorithm = patience
\tcontext = 9
\texternal = {home}/fail
\tignoreSubmodules = all
\tindentHeuristic = false
\tinterHunkContext = 9
\tmnemonicPrefix = true
\tnoprefix = true
\torderFile = {home}/order
\trelative = true
\trenames = copies
\trenameLimit = 1
\tsrcPrefix = x/
\tdstPrefix = y/
\tsubmodule = log
\tsuppressBlankEmpty = true
\twsErrorHighlight = all
[diff "shout"]
\ttextconv = {home}/fail
\tcommand = {home}/fail
[filter "shout"]
\tclean = {home}/fail
\tsmudge = {home}/fail
\trequired = true
[fetch]
\tfsckObjects = true
\tprune = true
[format]
\tattach = true
\tcoverLetter = true
\tencodeEmailHeaders = false
\tfrom = true
\tforceInBodyFrom = true
\theaders = "X-Hostile: yes\\n"
\tnoprefix = true
\tnotes = true
\tnumbered = true
\toutputDirectory = {home}/nowhere
\tpretty = oneline
\tsignature = hostile
\tsignOff = true
\tsubjectPrefix = X
\tsuffix = .txt
\tthread = true
\tto = nobody@example.org
\tuseAutoBase = true
[gc]
\tauto = 1
[gpg]
\tprogram = {home}/fail
[i18n]
\tcommitEncoding = latin-1
\tlogOutputEncoding = latin-1
[init]
\ttemplateDir = {home}/template
[log]
\tdate = relative
\tdecorate = full
\tfollow = true
\tmailmap = true
\tshowSignature = true
[mailmap]
\tfile = {home}/mailmap
[merge]
\tconflictStyle = merge
\tdefault = shout
\tdirectoryRenames = true
\trenameLimit = 1
\trenames = false
\trenormalize = true
\tverifySignatures = true
[merge "shout"]
\tdriver = {home}/fail
[notes]
\tdisplayRef = refs/notes/*
[pager]
\tdiff = false
\tlog = false
\tstatus = false
[protocol]
\tallow = never
[push]
\tgpgSign = true
\tnegotiate = true
[rerere]
\tenabled = true
\tautoUpdate = false
[receive]
\tdenyNonFastForwards = true
[safe]
\tbareRepository = explicit
\tdirectory = /nowhere
[show]
\tfoo = bar
[status]
\tbranch = true
\trelativePaths = true
\trenames = copies
\tshort = true
\tshowStash = true
\tshowUntrackedFiles = no
\tsubmoduleSummary = true
[tag]
\tgpgSign = true
[transfer]
\tfsckObjects = true
[user]
\tuseConfigOnly = true
"""
ATTRIBUTES = (
    "* text=auto eol=crlf diff=shout merge=shout filter=shout ident working-tree-encoding=UTF-16\n"
)
HOOKS = (
    "applypatch-msg", "commit-msg", "post-checkout", "post-commit", "post-rewrite", "pre-commit",
    "pre-merge-commit", "pre-push", "prepare-commit-msg", "reference-transaction", "update",
    "post-index-change", "pre-receive", "fsmonitor-watchman",
)  # fmt: skip
# What makes a person's own git fail in the work tree is no question to ours.
OWN = (
    "-c", "commit.gpgSign=false", "-c", "commit.template=", "-c", "core.attributesFile=/dev/null",
    "-c", "core.autocrlf=false", "-c", "core.excludesFile=/dev/null", "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null", "-c", "core.safecrlf=false",
)  # fmt: skip


def write_hostile(home: Path) -> Path:
    """Write the settings and all that they name, and return their file."""
    (home / "attributes").write_text(ATTRIBUTES)
    (home / "excludes").write_text("*\n")
    (home / "order").write_text("*.txt\n*.py\n")
    (home / "mailmap").write_text("Mallory <mallory@example.org> <ada@example.org>\n")
    for folder in ("hooks", "template"):
        (home / folder).mkdir()
    for place in (home / "fail", *(home / "hooks" / name for name in HOOKS)):
        place.write_text(f"#!/bin/sh\necho {place.name} $* >> {home}/was-run\nexit 1\n")
        place.chmod(0o755)
    (home / "template" / "description").write_text("hostile\n")
    file = home / ".gitconfig"
    file.write_text(HOSTILE.format(home=home))
    return file


def walk(home: Path, capsys: pytest.CaptureFixture[str], local: str = "") -> dict[str, object]:
    """Go once through every command of the family, and return what each made and said.

    :param local: settings of the work tree's own, as soon as there is one.
    """
    found: dict[str, object] = {}

    def step(name: str, *words: str | Path, code: int = 0) -> str:
        said = call(capsys, *words)
        assert said.code == code, (name, said.out, said.err)
        found[name] = said.out
        return said.out

    def poison(place: Path) -> Git:
        config = place / ".git" / "config"
        if local and local not in config.read_text():
            config.write_text(config.read_text() + local)
        return Git(place)

    origin = Git.create(home / "origin", RELEASE_1)
    for message, tree in (("One", ONE), ("Two: caf\xe9\n\nWhy.", TWO), ("Three", MOVED)):
        origin.commit(tree, message)
    (home / "origin.mbox").write_bytes(origin.mailbox())
    other = Git.create(home / "other", RELEASE_1)
    other.commit(OTHER, "Other")
    (home / "other.diff").write_bytes(other.run("diff", "base", "HEAD"))
    base = ("--base", f"{DISTRIBUTION}==1.0")
    put_release(home / "cache", "2.0", RELEASE_2)

    step("base", "base", home / "other.diff", "--distribution", DISTRIBUTION)
    step("import", "import", home / "origin.mbox", *base, "--name", "fork")
    step("import diff", "import", home / "other.diff", *base, "--name", "other", "--split", "file")
    step("lint", "lint", "fork", code=1)
    step("check", "refresh", "fork", "--check")
    step("diff", "diff", "fork")
    step("matrix", "matrix", "fork", "--with", "other")

    step("edit", "edit", "fork", "--dir", home / "wt")
    tree = poison(home / "wt")
    tree.run(*OWN, "mv", REQUEST, f"{ROOT}/v1/renamed.py")
    said = call(capsys, "refresh", "fork")
    found["unsettled"] = (said.code, said.err)
    tree.run(
        *OWN,
        "commit",
        "--quiet",
        "--cleanup=verbatim",
        "-m",
        "Move\n\n# not a comment\n[nor this]\n",
    )
    step("refresh", "refresh", "fork")
    found["refreshed"] = read_folder(home / "patches" / "fork")
    step("split", "split", "fork", "--patch", "0003", "--by", "file")
    step("refresh split", "refresh", "fork")
    found["after split"] = read_folder(home / "patches" / "fork")
    step("close", "edit", "fork", "--close")
    step("range-diff", "range-diff", "fork")

    step("forecast", "rebase", "fork", "--dry-run", "--onto", "2.0", "--json", code=1)
    step("rebase", "rebase", "fork", "--onto", "2.0", "--into", home / "two", "--dir", home / "rb",
         code=1)  # fmt: skip
    tree = poison(home / "rb")
    found["conflict"] = (home / "rb" / ENGINE).read_bytes()
    (home / "rb" / ENGINE).write_bytes(RESOLVED)
    tree.run(*OWN, "add", ENGINE)
    step("on", "rebase", "fork", "--continue", code=1)
    (home / "rb" / SPACED).write_bytes(TWO[SPACED])
    tree.run(*OWN, "add", SPACED)
    step("continue", "rebase", "fork", "--continue")
    found["rebased"] = read_folder(home / "two")
    step("again", "rebase", "fork", "--onto", "2.0", "--into", home / "twice", "--dir", home / "r2")
    found["remembered"] = read_folder(home / "twice")

    step("compose", "compose", "fork", "other", "--name", "both")
    found["both"] = read_folder(home / "patches" / "both")
    step("update", "compose", "both", "--update")
    step("export", "export", "both", "-o", home / "both.mbox")
    found["mailbox"] = (home / "both.mbox").read_bytes()
    checkout = Git.create(home / "checkout", RELEASE_1)
    step("branch", "export", "both", "--checkout", home / "checkout", "--onto", "base")
    found["branch tree"] = checkout.run(*OWN, "rev-parse", "both^{tree}")
    step("bundle", "export", "both", "--bundle", "-o", home / "both.bundle")
    (home / "checkout" / ENGINE).write_bytes(RESOLVED)
    step("new", "new", "other", "--from", home / "checkout", "-m", "New",
         "--author", "Ada <ada@example.org>")  # fmt: skip
    found["new"] = read_stack(home / "patches" / "other").patches[-1].files
    step("undo", "undo", "other")
    step("bisect", "bisect", "both", "--", "test", "-f", f"{ROOT}/v1/request.py")
    return found


def test_no_setting_changes_what_a_command_makes(
    home: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are in ~/.gitconfig, in the system's file, and in the work trees' own."""
    plain, hostile = tmp_path_factory.mktemp("plain"), home
    put_release(plain / "cache", "1.0", RELEASE_1)
    file = write_hostile(hostile)
    made = []
    for place, settings in ((plain, ""), (hostile, file.read_text())):
        monkeypatch.chdir(place)
        monkeypatch.setenv("HOME", str(place))
        monkeypatch.setenv("VLLM_PATCHKIT_CACHE", str(place / "cache"))
        monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(file) if settings else os.devnull)
        monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
        found = walk(place, capsys, settings)
        made.append({name: repr(what).replace(str(place), "HOME") for name, what in found.items()})
    for name, expected in made[0].items():
        assert made[1][name] == expected, name
    assert not (hostile / "was-run").exists(), (hostile / "was-run").read_text()
