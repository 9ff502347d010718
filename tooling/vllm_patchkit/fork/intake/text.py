"""The bytes of a patch file as git wants them: what an editor or a terminal put around is off."""

from __future__ import annotations

import codecs
import re

from vllm_patchkit.errors import PatchFormatError

COLOUR = re.compile(rb"\x1b\[[0-9;:]*[mK]")
COLOURED = re.compile(rb"(?m)^\x1b\[[0-9;:]*m(?:\x1b\[[0-9;:]*m)*(?:diff |--- |\+\+\+ |@@ )")
UTF_16 = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# The first letters of a diff or a mail, as UTF-16 without a mark has them.
BARE_UTF_16 = ((re.compile(rb"(?:[\n -~]\0){8}"), "utf-16-le"),
               (re.compile(rb"(?:\0[\n -~]){8}"), "utf-16-be"))  # fmt: skip


def clean_text(data: bytes, source: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the patch as UTF-8 without byte order mark and colours, and what was taken off.

    :raises PatchFormatError: it is UTF-16 in part only.
    """
    notes = []
    encoding = _find_utf_16(data)
    if encoding is not None:
        try:
            data = data.decode(encoding).encode("utf-8")
        except UnicodeDecodeError as error:
            raise PatchFormatError(
                f"{source} is {encoding.upper()} text with a fault at byte {error.start}",
                hint="save it again as UTF-8, or take it from git unconverted",
            ) from None
        notes.append(f"the file is {encoding.upper()}; taken as UTF-8")
    data = data.removeprefix(codecs.BOM_UTF8)
    if COLOURED.search(data):
        data = COLOUR.sub(b"", data)
        notes.append("the file holds the colours of a terminal; they were taken off")
    return data, tuple(notes)


def decode_prose(data: bytes) -> str:
    """Return what somebody wrote around a diff: UTF-8, else Latin-1, as ``git mailinfo`` takes it.

    >>> decode_prose(b"Caf\\xe9") == decode_prose(b"Caf\\xc3\\xa9")
    True
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _find_utf_16(data: bytes) -> str | None:
    for mark, name in UTF_16:
        if data.startswith(mark):
            return name
    return next((name for pattern, name in BARE_UTF_16 if pattern.match(data)), None)
