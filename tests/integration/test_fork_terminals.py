"""The fork family on terminals that are narrow, dumb, of no size, or none."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import DISTRIBUTION, ENGINE, RELEASE_1, Git, changed, engine_line, put_release

ONE = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'ours'\n")
TWO = {**ONE, "tiny_llm/two.py": b"TWO = 2\n", "tiny_llm/v1/three.py": b"THREE = 3\n"}
RELEASE_2 = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'theirs'\n")
BASE = ("--base", f"{DISTRIBUTION}==1.0")
# In this order, each with its exit code: none of them depends on who looks.
WALK: list[tuple[int, tuple[str, ...]]] = [
    (0, ("base", "fork.mbox", "--distribution", DISTRIBUTION)),
    (0, ("import", "fork.mbox", *BASE, "--name", "fork")),
    (0, ("import", "fork.diff", *BASE, "--name", "other", "--split", "folder")),
    (1, ("lint", "fork")),
    (0, ("diff", "fork", "--stat")),
    (0, ("matrix", "fork")),
    (0, ("edit", "fork", "--dir", "wt")),
    (0, ("split", "fork", "--patch", "0002")),
    (0, ("refresh", "fork")),
    (0, ("edit", "fork", "--close")),
    (0, ("range-diff", "fork")),
    (0, ("undo", "fork", "--list")),
    (1, ("rebase", "fork", "--dry-run", "--onto", "2.0", "--verdicts")),
    (1, ("rebase", "fork", "--onto", "2.0")),
    (0, ("rebase", "fork", "--abort")),
    (1, ("compose", "fork", "nowhere", "--name", "both")),
    (0, ("export", "fork", "--check-upstream", "2.0")),
    (0, ("bisect", "fork", "--", "test", "!", "-f", "tiny_llm/two.py")),
]
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def run_on(columns: int, argv: list[str], env: dict[str, str], cwd: Path) -> tuple[int, str]:
    """Run a command on a terminal of so many columns, and return its code and what it showed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(argv, env=env, cwd=cwd, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(master)
    return child.wait(), shown.decode()


@pytest.mark.parametrize(
    ("columns", "setting"),
    [
        (20, {"TERM": "xterm"}),
        (40, {"TERM": "xterm", "COLUMNS": "0"}),
        (0, {"TERM": "xterm", "COLUMNS": "1"}),
        (20, {"TERM": "dumb"}),
    ],
)
def test_every_command_on_an_odd_terminal(
    home: Path, columns: int, setting: dict[str, str]
) -> None:
    git = Git.create(home / "origin", RELEASE_1)
    for message, tree in (("One", ONE), ("A subject wider than most terminals are", TWO)):
        git.commit(tree, message)
    (home / "fork.mbox").write_bytes(git.mailbox())
    (home / "fork.diff").write_bytes(git.run("diff", "base", "HEAD"))
    put_release(home / "cache", "2.0", RELEASE_2)
    gone = ("CI", "NO_COLOR", "COLUMNS", "LINES")
    env = {name: text for name, text in os.environ.items() if name not in gone} | setting
    for code, words in WALK:
        found, shown = run_on(columns, [sys.executable, "-m", "vllm_patchkit", *words], env, home)
        assert "Traceback" not in shown, (words, shown)
        assert found == (2 if "nowhere" in words else code), (words, shown)
        assert shown
        if setting["TERM"] == "dumb":
            assert "\x1b" not in shown, (words, shown)
        # What is drawn over must not wrap: a wrapped line would stay.
        drawn = [ESCAPE.sub("", line) for line in re.split("[\r\n]", shown)]
        if columns:
            bars = [line for line in drawn if line.startswith(("[#", "[-"))]
            assert all(len(line) < columns for line in bars), (words, bars)
