"""What of a commit message git and GNU patch would take for something else."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from support.messages import SUBJECTS, make_message
from vllm_patchkit.stack.prose import (
    clean_lines,
    clean_subject,
    ends_message,
    settle_message,
    split_message,
)

HEAD = "From: A <a@example.org>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n"


def mailinfo(folder: Path, mail: str) -> tuple[str, str, str]:
    """Return subject, message and patch as ``git mailinfo -b`` reads them."""
    message, patch = folder / "message", folder / "patch"
    argv = ["git", "mailinfo", "-b", "--no-scissors", message, patch]
    said = subprocess.run(argv, input=mail.encode(), capture_output=True, check=True)
    subject = next(line for line in said.stdout.decode().split("\n") if line.startswith("Subject:"))
    return subject.removeprefix("Subject:").strip(), message.read_text(), patch.read_text()


@pytest.mark.parametrize(
    "line",
    ["---", "--- ", "---\t ", "--- a/x", "--- old ms 5", "---x", "----", " ---", "--- \t x",
     "diff --git a b", "diff -u a b", "diff", "different", "Index: x", "Index:x", "+++ b/x"],
)  # fmt: skip
def test_a_message_ends_where_git_ends_it(line: str, tmp_path: Path) -> None:
    """The first line that ``git mailinfo`` puts into the patch ends the message."""
    _, _, patch = mailinfo(tmp_path, f"{HEAD}Subject: x\n\nbody\n{line}\nrest\n")
    assert ends_message(line) == bool(patch)


@pytest.mark.parametrize("subject", [*SUBJECTS, "[a][PATCH][b] c", "RE:re: x", "Re", "[PATCHES] x"])
def test_a_subject_is_cleaned_as_git_cleans_it(subject: str, tmp_path: Path) -> None:
    """Of a subject remains what ``git mailinfo -b`` leaves of it."""
    line = " ".join(subject.split("\n"))
    expected, _, _ = mailinfo(tmp_path, f"{HEAD}Subject: {line}\n\nbody\n")
    if "=?" not in line:
        assert clean_subject(line) == expected


@pytest.mark.parametrize("seed", range(40))
def test_a_settled_message_is_the_message_to_git(seed: int, tmp_path: Path) -> None:
    """``git mailinfo`` takes every line of it for the message, and settling it again is nothing."""
    message = settle_message(make_message(random.Random(seed)))
    assert settle_message(message) == message
    _, body = split_message(message)
    text = "\n".join(body)
    _, found, patch = mailinfo(tmp_path, f"{HEAD}Subject: x\n\n{text}\n\ndiff --git a/x b/x\n")
    assert clean_lines(found.split("\n")) == body
    assert patch == "diff --git a/x b/x\n"


@pytest.mark.parametrize("seed", range(40))
def test_a_settled_message_is_no_diff_to_gnu_patch(seed: int, tmp_path: Path) -> None:
    """``patch`` finds nothing in it to apply."""
    (tmp_path / "tiny_llm").mkdir()
    engine = tmp_path / "tiny_llm/engine.py"
    engine.write_text("def engine_0(): return 0\ndef engine_1(): return 1\n")
    before = engine.read_bytes()
    message = settle_message(make_message(random.Random(seed)))
    argv = ["patch", "-p1", "--batch", "--quiet"]
    subprocess.run(argv, cwd=tmp_path, input=message.encode(), capture_output=True, check=False)
    assert engine.read_bytes() == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["engine.py", "tiny_llm"]


@pytest.mark.parametrize("seed", range(20))
def test_lines_are_cleaned_as_git_stripspace_cleans_them(seed: int) -> None:
    """Blanks at line ends, and empty lines at ends or in runs, go as in ``git stripspace``."""
    text = make_message(random.Random(seed))
    done = subprocess.run(
        ["git", "stripspace"], input=text.encode(), capture_output=True, check=True
    )
    assert clean_lines(text.split("\n")) == done.stdout.decode().rstrip("\n").split("\n")
