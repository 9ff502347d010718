"""Generated edits of text files: what a differential test feeds to us and to the peers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

LINES = (
    b"import os\n", b"\n", b"    return x\n", b"x = 1\n", b"x = 2\n", b"\ttabbed\n", b"tail  \n",
    b"crlf\r\n", b"lone\rreturn\n", b"latin \xe9\n", b"utf8 \xc3\xa9\n", b"-- \n", b"--- a/x\n",
    b"+++ b/x\n", b"@@ -1 +1 @@\n", b"diff --git a/x b/x\n", b"\\ No newline at end of file\n",
    b"def f():\n", b"form\x0cfeed\n", b"\x1b[31mcolour\n", b" \n", b"+\n", b"-\n", b"From x\n",
)  # fmt: skip
NAMES = (
    b"plain.py", b"with space.py", b"quo\"te.py", b"t\tab.py", b"new\nline.py", b"latin\xe9.py",
    b"utf\xc3\xa9.py", b"-dash.py", b"b", b"a b/b b.py", b"deep/er/name.py", b"trail .py",
    b"bell\x07.py", b"curly{}.py", b"a/b.py", b"del\x7f.py",
)  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One file before and after; None where it does not exist."""

    name: bytes
    before: bytes | None
    after: bytes | None


def make_edits(count: int, seed: int) -> Iterator[Edit]:
    """Yield edits with distinct names; among them creations, deletions and odd file ends."""
    rng = random.Random(seed)
    for number in range(count):
        name = b"%05d/%s" % (number, rng.choice(NAMES))
        before = make_content(rng)
        after = mutate(rng, before)
        kind = rng.random()
        if kind < 0.06:
            yield Edit(name, None, before)
        elif kind < 0.12:
            yield Edit(name, before, None)
        elif after == before:
            yield Edit(name, before, before + b"more\n")
        else:
            yield Edit(name, before, after)


def make_content(rng: random.Random) -> bytes:
    """Return a text of 0 to 60 lines, one in four without a line end at its end."""
    text = b"".join(rng.choices(LINES, k=rng.choice((0, 1, 2, 3, 8, 20, 60))))
    return text[:-1] if text and rng.random() < 0.25 else text


def mutate(rng: random.Random, text: bytes) -> bytes:
    """Return ``text`` with some lines dropped, added, doubled or replaced."""
    lines = text.split(b"\n")
    lines = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    for _ in range(rng.choice((1, 1, 2, 4, 9))):
        place = rng.randint(0, len(lines))
        size = rng.choice((0, 1, 1, 2, 5))
        lines[place : place + size] = rng.choices(LINES, k=rng.choice((0, 1, 1, 3)))
    joined = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
    return joined[:-1] if joined and rng.random() < 0.25 else joined
