"""The rules for one patch file: its mail header and the form of its diff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from vllm_patchkit.diff.format import format_diff
from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.paths import is_inside
from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.message import split_headers
from vllm_patchkit.stack.model import Message, Patch

TRAILERS = ("Subsystem", "Origin", "Forwarded", "Last-Update", "Signed-off-by")
# DEP-3 (https://dep-team.pages.debian.net/deps/dep3/), fields Origin and Forwarded.
ORIGIN = re.compile(r"(?:upstream|backport|vendor|other)(?:, *\S.*)?")
FORWARDED = re.compile(r"no|not-needed|https?://\S+")
SIGNED_OFF_BY = re.compile(r"[^<>]+ <[^<>@\s]+@[^<>@\s]+>")
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# RFC 5322, 3.3, in the one form that git writes.
MAIL_DATE = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov"
    r"|Dec) \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
)
ENCODINGS = ("7bit", "8bit", "binary")
FULL_ID_DIGITS = 40
GENERATED = ("_version.py",)


def check_header(patch: Patch, subsystems: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what is wrong with the mail header and the message of ``patch``."""
    message = patch.message
    for code, text in (*_header_faults(message), *_trailer_faults(message, subsystems)):
        yield Finding(code, patch.name, text)
    headers, _ = split_headers(patch.data.decode("utf-8", "replace").split("\n"))
    encoding = headers.get("content-transfer-encoding", "8bit").lower()
    if encoding not in ENCODINGS:
        text = f"the mail is encoded as {encoding}"
        yield Finding(Code.MAIL_ENCODING, patch.name, text)


def _header_faults(message: Message) -> Iterator[tuple[Code, str]]:
    if not (message.author and message.email):
        yield Code.HEADER_MISSING, "no From: header with a name and an address"
    if not message.date:
        yield Code.HEADER_MISSING, "no Date: header"
    elif not MAIL_DATE.fullmatch(message.date):
        yield Code.DATE_INVALID, f"Date: {message.date!r} is not the date of a mail"
    if not message.subject:
        yield Code.HEADER_MISSING, "no Subject: header"
    if not message.body.strip():
        yield Code.BODY_EMPTY, "the message has a subject but no body"


def _trailer_faults(message: Message, subsystems: tuple[str, ...]) -> Iterator[tuple[Code, str]]:
    for name in TRAILERS:
        if message.trailer(name) is None:
            yield Code.TRAILER_MISSING, f"no {name}: trailer"
    for name, value in message.trailers:
        expected = _expected_value(name, value)
        if expected is not None:
            yield Code.TRAILER_INVALID, f"{name}: {value!r} is not {expected}"
        if name.lower() == "subsystem" and value not in subsystems:
            text = f"subsystem {value!r} is not in stack.toml ({', '.join(subsystems)})"
            yield Code.SUBSYSTEM_UNKNOWN, text


def _expected_value(name: str, value: str) -> str | None:
    """Return what the trailer should hold instead of ``value``, or None where it is right."""
    field = name.lower()
    if field == "origin" and not ORIGIN.fullmatch(value):
        return "upstream, backport, vendor or other, with a URL or commit after a comma"
    if field == "forwarded" and not FORWARDED.fullmatch(value):
        return "no, not-needed or a URL"
    if field == "last-update" and not _is_date(value):
        return "a date as YYYY-MM-DD"
    if field == "signed-off-by" and not SIGNED_OFF_BY.fullmatch(value):
        return "a name and an address: Name <name@example.org>"
    return None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return ISO_DATE.fullmatch(text) is not None


def check_content(patch: Patch, root: str) -> Iterator[Finding]:
    """Yield what is wrong with the diff of ``patch``, short of applying it."""
    if not patch.files:
        yield Finding(Code.DIFF_EMPTY, patch.name, "it changes no file")
        return
    for diff in patch.files:
        for code, text in (*_file_faults(diff, root), *_line_faults(diff)):
            yield Finding(code, patch.name, f"{diff.path}: {text}")
    if not any(diff.binary for diff in patch.files):
        yield from _check_canonical(patch)


def _file_faults(diff: FileDiff, root: str) -> Iterator[tuple[Code, str]]:
    for path in filter(None, {diff.old_path, diff.new_path}):
        if not is_inside(path, root):
            yield Code.OUTSIDE_ROOT, f"{path} is outside {root}/"
        if path.rpartition("/")[2] in GENERATED:
            yield Code.GENERATED_FILE, "the file is generated at build time"
    if diff.binary:
        yield Code.BINARY, "the change is binary"
    if diff.new_mode not in (None, "100644") and diff.new_mode != diff.old_mode:
        yield Code.MODE_CHANGED, f"the mode becomes {diff.new_mode}"
    if diff.old_mode not in (None, diff.new_mode) and diff.new_mode == "100644":
        yield Code.MODE_CHANGED, f"the mode changes from {diff.old_mode} to {diff.new_mode}"
    if diff.hunks and len(diff.old_blob or "") < FULL_ID_DIGITS:
        found = "abbreviated blob ids" if diff.old_blob else "no index line"
        yield Code.BLOB_IDS_MISSING, f"{found}: nothing proves which bytes it was cut from"


def _line_faults(diff: FileDiff) -> Iterator[tuple[Code, str]]:
    for hunk in diff.hunks:
        number = hunk.new_start
        for line in hunk.lines:
            if line.op == "+":
                yield from ((code, f"line {number} {text}") for code, text in _added(line.content))
            number += line.op != "-"


def _added(content: bytes) -> Iterator[tuple[Code, str]]:
    text = content.rstrip(b"\n")
    if text.endswith(b"\r"):
        yield Code.CRLF_ADDED, "is added with CRLF"
    if text.rstrip(b"\r").endswith((b" ", b"\t")):
        yield Code.TRAILING_WHITESPACE_ADDED, "is added with blanks at its end"
    if not content.endswith(b"\n"):
        yield Code.LINE_END_MISSING, "is added without a line end"


def _check_canonical(patch: Patch) -> Iterator[Finding]:
    """Yield a finding where git would write the same diff in other bytes."""
    start = patch.data.find(b"\ndiff --git ") + 1
    written = patch.data[start:] if patch.data[start:].startswith(b"diff --git ") else b""
    expected = format_diff(patch.files)
    if written == expected:
        return
    found, wanted = written.split(b"\n"), expected.split(b"\n")
    offset = next((i for i, line in enumerate(wanted) if found[i : i + 1] != [line]), len(wanted))
    line = patch.data[:start].count(b"\n") + offset + 1
    yield Finding(
        Code.NOT_CANONICAL,
        f"{patch.name}:{line}",
        "from here on the diff is not as git format-patch --full-index --no-signature writes it",
    )
