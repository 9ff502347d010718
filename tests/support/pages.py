"""The documentation as data: commands with what they print, links, headings, targets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELLS = ("console", "sh", "bash", "")


@dataclass(frozen=True)
class Step:
    """A command of a page, the status it ends with, and lines of what it prints."""

    command: str
    status: int
    shown: tuple[str, ...]


def read_steps(text: str) -> list[Step]:
    """Return the steps of every ``console`` block, in order.

    A command follows ``$ `` and goes on after a backslash or with ``> ``; ``# exit status N`` says
    that it is to fail. Every other line is shown output, in which ``...`` stands for anything.
    """
    steps: list[Step] = []
    for language, block in FENCE.findall(text):
        if language != "console":
            continue
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            lines = part.rstrip("\n").split("\n")
            command = [lines.pop(0)]
            while lines and (command[-1].endswith("\\") or lines[0].startswith(">")):
                command.append(re.sub(r"^> ?", "", lines.pop(0)))
            status = [line for line in lines if line.startswith("# exit status ")]
            shown = tuple(line for line in lines if line and line not in status)
            code = int(status[0].split()[-1]) if status else 0
            steps.append(Step("\n".join(command), code, shown))
    return steps


def read_commands(text: str) -> list[str]:
    """Return every command line of every shell block, continued lines joined."""
    commands = [step.command for step in read_steps(text)]
    for language, block in FENCE.findall(text):
        if language in ("sh", "bash", ""):
            commands += re.sub(r"\\\n\s*", " ", block).splitlines()
    joined = (re.sub(r"\\\n\s*", " ", command).partition("\n")[0] for command in commands)
    return [command for command in joined if command.strip()]


def is_shown(line: str, said: str) -> bool:
    """Return whether the output ``said`` has a shown line, ``...`` standing for anything."""
    pattern = ".*".join(re.escape(part) for part in _spaced(line).split("..."))
    return any(re.fullmatch(pattern, _spaced(one)) for one in said.splitlines())


def _spaced(line: str) -> str:
    return " ".join(line.split())


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {word.strip().replace(" ", "-") for word in words}


def links(path: Path) -> list[str]:
    """Return the targets of a page's links, code left out."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return LINK.findall(re.sub(r"`[^`\n]*`", "", text))
