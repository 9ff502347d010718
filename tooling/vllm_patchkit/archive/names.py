"""Which member names an archive may have, alone and together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from vllm_patchkit.archive.flaws import Flaw, FlawKind

MAX_NAME_BYTES = 4096
MAX_PART_BYTES = 255
DRIVE = re.compile(r"^[A-Za-z]:")


def check_name(name: str) -> Iterator[Flaw]:
    """Yield what is wrong with one member name; a trailing ``/`` (a directory) is allowed.

    The rule is narrower than the zip specification (APPNOTE 4.4.17): a name must mean the same
    file, inside the target folder, to every installer on every system.
    """
    reason = _unsafe_reason(name.removesuffix("/"))
    if reason:
        yield Flaw(FlawKind.UNSAFE_NAME, f"{name!r}: {reason}")


def _unsafe_reason(name: str) -> str | None:
    if not name:
        return "the name is empty"
    if name.startswith("/") or DRIVE.match(name):
        return "the path is absolute"
    if "\\" in name:
        return "a backslash is a separator on some systems"
    if not name.isprintable():
        return "it holds a character that cannot be seen"
    parts = name.split("/")
    if ".." in parts:
        return "'..' leaves the folder that it is unpacked to"
    if "" in parts or "." in parts:
        return "it has an empty or '.' part"
    if len(name.encode()) > MAX_PART_BYTES and _is_too_long(name, parts):
        return "it is too long for a file system"
    return None


def _is_too_long(name: str, parts: list[str]) -> bool:
    longest = max(len(part.encode()) for part in parts)
    return len(name.encode()) > MAX_NAME_BYTES or longest > MAX_PART_BYTES


def check_together(names: Iterable[str]) -> Iterator[Flaw]:
    """Yield which names cannot live beside each other: twice, differing in case, file and folder.

    Directory entries (with a trailing ``/``) may repeat what the files imply.
    """
    listed = list(names)
    seen: dict[str, str] = {}
    for name in listed:
        other = seen.setdefault(_fold(name), name)
        if other is name:
            continue
        if other == name:
            yield Flaw(FlawKind.DUPLICATE_NAME, f"{name!r} is there more than once")
        else:
            yield Flaw(FlawKind.CASE_COLLISION, f"{name!r} and {other!r} differ in case only")
    yield from _check_folders([name for name in listed if not name.endswith("/")])


def _check_folders(files: list[str]) -> Iterator[Flaw]:
    spelled: set[str] = set()
    folders: dict[str, str] = {}
    for name in files:
        folder = name.rpartition("/")[0]
        while folder and folder not in spelled:
            spelled.add(folder)
            other = folders.setdefault(_fold(folder), folder)
            if other != folder:
                text = f"the folders {folder!r} and {other!r} differ in case only"
                yield Flaw(FlawKind.CASE_COLLISION, text)
            folder = folder.rpartition("/")[0]
    for name in files:
        if _fold(name) in folders:
            yield Flaw(FlawKind.DUPLICATE_NAME, f"{name!r} is both a file and a folder")


def _fold(name: str) -> str:
    plain = name.rstrip("/")
    return (plain if plain.isascii() else unicodedata.normalize("NFC", plain)).casefold()
