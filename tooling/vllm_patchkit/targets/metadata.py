"""The few facts that a dist-info tells about who owns which files. Pure."""

from __future__ import annotations

import re

CHECKED_HEADERS = ("name", "version")


def normalize_name(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_name_and_version(metadata: bytes) -> tuple[str, str] | None:
    """Return the ``Name`` and ``Version`` headers of a METADATA file, or None if one is missing."""
    found: dict[str, str] = {}
    for line in metadata.splitlines():
        if not line.strip():
            break
        key, colon, value = line.decode("utf-8", "replace").partition(":")
        if colon and key.lower() in CHECKED_HEADERS:
            found.setdefault(key.lower(), value.strip())
    if len(found) < len(CHECKED_HEADERS):
        return None
    return found["name"], found["version"]


def lists_files_under(record: bytes, folder: str) -> bool:
    """Return whether a RECORD has a row for a file inside ``folder``."""
    prefix = folder.encode() + b"/"
    return any(line.lstrip(b'"').startswith(prefix) for line in record.splitlines())
