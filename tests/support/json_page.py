"""The tables of docs/json.md as data."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "json.md"


def documented_keys() -> dict[str, list[str]]:
    """Return call -> the keys behind ``format`` and ``command`` that its row names."""
    table = PAGE.read_text(encoding="utf-8").partition("## Keys of every command")[2]
    rows = re.findall(r"(?m)^\| (`.*?) \| (`.*?)(?:; of.*)? \|$", table.partition("\n## ")[0])
    return {
        call: re.findall(r"`(\w+)`", keys)
        for calls, keys in rows
        for call in re.findall(r"`([^`]+)`", calls)
    }


def documented_members(command: str, key: str) -> list[str]:
    """Return the keys of the objects in one list, or of the rows that describe them."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {command}\n")[2]
    rows = re.findall(r"(?m)^\| (`.*?) \| (.*) \|$", section.partition("\n## ")[0])
    if key == "":
        return [name for names, _ in rows for name in re.findall(r"`(\w+)`", names)]
    (text,) = (text for names, text in rows if names == f"`{key}`")
    return re.findall(r"`(\w+)`", text)
