"""Commit messages that look like something else, and what git itself makes of them."""

from __future__ import annotations

import random

from support.forks import Git

QUOTED_DIFF = """\
--- a/tiny_llm/engine.py
+++ b/tiny_llm/engine.py
@@ -1,2 +1,2 @@
-def engine_0(): return 0
+def engine_0(): return 666
 def engine_1(): return 1
"""
GIT_DIFF = "diff --git a/tiny_llm/engine.py b/tiny_llm/engine.py\n" + QUOTED_DIFF
MAIL = f"""\
From {"a1" * 20} Mon Sep 17 00:00:00 2001
From: Mallory <m@example.org>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH] Another mail
"""
PARAGRAPHS = (
    "Plain prose, and more of it.",
    "Ünïcode: 日本語, naïve — done.",
    QUOTED_DIFF,
    GIT_DIFF,
    "".join(f"    {line}\n" for line in QUOTED_DIFF.splitlines()),
    "".join(f"\t{line}\n" for line in GIT_DIFF.splitlines()),
    "".join(f"> {line}\n" for line in GIT_DIFF.splitlines()),
    GIT_DIFF + "\ndiff --git a/none b/none\nnew file mode 100644\n",
    "---",
    "---   ",
    "--- old ms 5\n+++ new ms 4",
    "-------------",
    "***************\n*** 1,2 ****\n! x\n--- 1,2 ----\n! y",
    f"From {'ab' * 20} Mon Sep 17 00:00:00 2001",
    "From ada@example.org Thu Jan  1 00:00:00 2026\nmore text",
    "From here on it is slow.",
    ">From the mailbox",
    MAIL.splitlines()[1],
    "From: the start",
    "Subject: of this",
    "Date: Thu, 1 Jan 2026 00:00:00 +0000",
    "[PATCH] in a body",
    "-- >8 -- cut here -- >8 --",
    "-- 8< --",
    "-- \n2.39.5",
    "Index: tiny_llm/engine.py\n===========",
    "1c1\n< def engine_0(): return 0\n---\n> def engine_0(): return 666",
    "\ufeffa mark of byte order",
    "\ufeffdiff --git a/x b/x",
    "  indented\n\n\n\n  twice  ",
    "\tTabbed",
    "@@ -1,2 +1,2 @@",
    "old mode 100644\nnew mode 100755",
    "GIT binary patch\nliteral 0\nHcmV?d00001",
    "rename from tiny_llm/engine.py\nrename to tiny_llm/gone.py",
    "Binary files a/x and b/x differ",
    "# not a comment",
    " 1 file changed, 1 insertion(+)",
    "base-commit: 0123456789012345678901234567890123456789",
)  # fmt: skip
TRAILERS = (
    "Signed-off-by: Ada Lovelace <ada@example.org>",
    "Co-authored-by: Bob <bob@example.org>\nBug: https://example.org/1",
    "Subsystem: fork\nOrigin: other",
    "Change-Id: I0123\n  folded over",
)
SUBJECTS = (
    "Add c", "[Core] Fix it", "[PATCH] literally", "[PATCH v2 1/3] [V1] Two", "Re: again",
    "Re: [RFC][PATCH] [Core] x", "füße: 日本語", "a  b   c", "Fix =?UTF-8?q?x?= words",
    "diff --git a/x b/x", "--- a/x", "--- x", "From: here", "trailing dots...", "\ufeffmarked",
    "Very long " + "and longer " * 14 + "end", ": colon", "[unclosed", "a\nb in two lines",
    "Subject: inside", "100% [done]",
)  # fmt: skip


def make_message(rng: random.Random) -> str:
    """Return a subject, up to four hostile paragraphs in any order, and trailers, or none."""
    parts = [rng.choice(SUBJECTS), *rng.choices(PARAGRAPHS, k=rng.randint(0, 4))]
    if rng.random() < 0.5:
        parts.append(rng.choice(TRAILERS))
    return "\n\n".join(parts) + "\n"


def strip_space(git: Git, message: str) -> list[str]:
    """Return the lines of a message as ``git stripspace`` leaves them."""
    return git.run("stripspace", data=message.encode()).decode().split("\n")


def unquoted(lines: list[str], original: list[str]) -> list[str]:
    """Return lines with the ``> `` taken off again that is not in the original."""
    return [
        line.removeprefix("> ") if line != old else line
        for line, old in zip(lines, original, strict=True)
    ]
