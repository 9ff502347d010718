"""A generated stack of any length on a real release: small edits spread over its modules."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from support.stacks import make_diff

METADATA = """\
format = 1

[stack]
name = "{name}"
label = "{name}"
version = 1
summary = "A generated stack"
license = "Apache-2.0"
subsystems = ["engine"]

[base]
distribution = "vllm"
version = "0.11.0"
root = "vllm"
"""
MAIL = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Author {author} <author{author}@example.org>
Date: Fri, {day} Jan 2026 03:04:05 +0100
Subject: [Core] Edit {number} of {path}

Because a stack of this length has to be tested.

Subsystem: engine
Origin: other
Forwarded: no
Last-Update: 2026-01-02
Signed-off-by: Author {author} <author{author}@example.org>

"""
Read = Callable[[str], bytes]


def write_big_stack(
    folder: Path, paths: Sequence[str], read: Read, count: int, *, seed: int = 1
) -> Path:
    """Write a stack of ``count`` patches, each adding lines after one or two statements.

    :param paths: modules of the release to choose from.
    """
    folder.mkdir(parents=True)
    (folder / "stack.toml").write_text(METADATA.format(name=folder.name))
    names = []
    for number, (path, diff) in enumerate(_edits(paths, read, count, seed), 1):
        name = f"{number:04d}-Core-Edit-{number}.patch"
        mail = MAIL.format(number=number, path=path, author=number % 7, day=1 + number % 28)
        (folder / name).write_bytes(mail.encode() + diff)
        names.append(name)
    (folder / "series").write_text("".join(f"{name}\n" for name in names))
    return folder


def _edits(paths: Sequence[str], read: Read, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    chosen = random.Random(seed)
    tree: dict[str, bytes] = {}
    for number in range(1, count + 1):
        path = chosen.choice(list(paths))
        before = tree.get(path) or read(path)
        after = before
        for part in range(chosen.choice((1, 1, 2))):
            after = _insert(after, number, part, chosen)
        tree[path] = after
        yield path, make_diff({path: before}, {path: after})


def _insert(data: bytes, number: int, part: int, chosen: random.Random) -> bytes:
    """Add an assignment before a top-level statement; the module still compiles."""
    lines = data.splitlines(keepends=True)
    body = ast.parse(data).body
    starts = [
        min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
        for node in body[2:]
        if not isinstance(node, ast.ImportFrom)
    ]
    place = chosen.choice(starts or [len(lines) + 1]) - 1
    lines.insert(place, f"FORK_{number}_{part} = {number}\n".encode())
    return b"".join(lines)
