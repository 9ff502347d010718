"""The header of one file in a diff: names, modes, blob ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from vllm_patchkit.diff.lines import LineReader
from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.names import decode_name, split_quoted
from vllm_patchkit.diff.paths import path_fault

EXTENDED = re.compile(
    rb"(old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from|rename to"
    rb"|similarity index|dissimilarity index|index) (.*)\n"
)
INDEX = re.compile(rb"([0-9a-f]{4,40})\.\.([0-9a-f]{4,40})(?: ([0-7]{6}))?")
PERCENT = re.compile(rb"(\d{1,3})%")
MODES = {b"100644", b"100755"}
DEV_NULL = b"/dev/null"
# `diff -N` gives a file that does not exist the time 0, shown in the zone of who ran it.
EPOCH = re.compile(rb"(?:1969-12-31|1970-01-01) \d\d:\d\d:00(?:\.0+)?(?: [-+]\d{4})?")


class Header(NamedTuple):
    """What a file header says: the diff without its content.

    :param suffices: whether it is a change by itself: an empty file, a rename, a copy, a mode.
    """

    diff: FileDiff
    suffices: bool = False


def parse_header(reader: LineReader, strip: int) -> Header:
    """Return the header at the reader's place and step over it.

    :raises PatchFormatError: names that disagree or escape the tree, modes of links, ids that
        are none.
    """
    first = reader.index + 1
    if not reader.peek().startswith(b"diff --git "):
        header = _parse_plain(reader, strip)
    else:
        header = _parse_git(reader, strip)
    for path in (header.diff.old_path, header.diff.new_path):
        fault = None if path is None else path_fault(path)
        if fault:
            raise reader.fault(
                f"the file name {path!r} is refused: {fault}",
                line=first,
                hint="a patch may only name files inside the tree, relative to its root",
            )
    return header


def _parse_git(reader: LineReader, strip: int) -> Header:
    first = reader.index + 1
    line = reader.take()
    if line.endswith(b"\r\n"):
        raise reader.fault("the patch has CRLF line ends", hint="export it again, unconverted")
    fields = _parse_fields(reader)
    named = list(_split_names(line[len(b"diff --git ") :].rstrip(b"\n")))
    pairs = [(_strip(old, strip), _strip(new, strip)) for old, new in named]
    marked = _parse_marks(reader)
    names = _resolve_names(pairs, fields, marked, strip)
    if names is None:
        raise reader.fault(
            "the names of this file cannot be read, or the header's lines disagree on them",
            line=first,
        )
    old, new = names
    diff = FileDiff(
        old_path=None if b"new file mode" in fields else decode_name(old),
        new_path=None if b"deleted file mode" in fields else decode_name(new),
        hunks=(),
        renamed=b"rename to" in fields,
        copied=b"copy to" in fields,
        similarity=_percent(fields.get(b"similarity index")),
        dissimilarity=_percent(fields.get(b"dissimilarity index")),
        **_read_ids(reader, fields, first),
    )
    enough = (b"new file mode", b"deleted file mode", b"rename to", b"copy to", b"new mode")
    return Header(diff, suffices=any(name in fields for name in enough))


def _parse_fields(reader: LineReader) -> dict[bytes, bytes]:
    """Step over the extended header lines and return them by name."""
    fields: dict[bytes, bytes] = {}
    while match := EXTENDED.fullmatch(reader.peek()):
        reader.take()
        name, value = match.groups()
        if name in fields:
            raise reader.fault(f"a second '{name.decode()}' line")
        if name == b"index" and not INDEX.fullmatch(value):
            raise reader.fault("this index line does not hold two blob ids of git (SHA-1)")
        if name.endswith(b" index") and not PERCENT.fullmatch(value):
            raise reader.fault(f"'{name.decode()}' does not hold a percentage")
        if name.endswith(b"mode") and value not in MODES:
            raise _bad_mode(reader, value)
        fields[name] = value
    return fields


def _parse_marks(reader: LineReader) -> tuple[bytes, bytes] | None:
    """Step over ``---`` and ``+++`` and return what they name; None where there are none."""
    if reader.peek().startswith(b"@@"):
        raise reader.fault("a hunk without '--- ' and '+++ ' lines before it")
    if not reader.peek().startswith(b"--- "):
        return None
    old = reader.take()
    if not reader.peek().startswith(b"+++ "):
        raise reader.fault("a '--- ' line without a '+++ ' line after it")
    names = []
    for line in (old, reader.take()):
        text = line[4:].rstrip(b"\n")
        quoted = split_quoted(text)
        names.append(text.split(b"\t")[0] if quoted is None else quoted[0])
    if not reader.peek().startswith(b"@@"):
        raise reader.fault("no hunk follows the names of the file")
    return names[0], names[1]


def _resolve_names(
    pairs: list[tuple[bytes, bytes]],
    fields: dict[bytes, bytes],
    marked: tuple[bytes, bytes] | None,
    strip: int,
) -> tuple[bytes, bytes] | None:
    """Return old and new name if every line of the header agrees on them, else None."""
    moved = _moved_names(fields, strip)
    if moved is None:
        pairs = [(old, new) for old, new in pairs if old == new]
    else:
        pairs = [pair for pair in pairs if pair == moved]
    if marked is not None:
        created = b"new file mode" in fields, b"deleted file mode" in fields
        for side, gone in enumerate(created):
            if (marked[side] == DEV_NULL) != gone:
                return None
            if not gone:
                name = _strip(marked[side], strip)
                pairs = [pair for pair in pairs if pair[side] == name]
    return pairs[0] if len(set(pairs)) == 1 else None


def _moved_names(fields: dict[bytes, bytes], strip: int) -> tuple[bytes, bytes] | None:
    """Return the names of a rename or copy; git writes them without the ``a/`` and ``b/``."""
    for verb in (b"rename", b"copy"):
        names = []
        for end in (b" from", b" to"):
            text = fields.get(verb + end)
            if text is not None:
                quoted = split_quoted(text)
                names.append(_strip(text if quoted is None else quoted[0], max(strip - 1, 0)))
        if len(names) == 2:
            return names[0], names[1]
    return None


def _split_names(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield every way to read the two names after ``diff --git``; spaces make several."""
    first = split_quoted(text)
    if first is not None:
        name, rest = first
        second = split_quoted(rest[1:])
        yield name, rest[1:] if second is None else second[0]
        return
    for place in (found.start() for found in re.finditer(rb" ", text)):
        second = split_quoted(text[place + 1 :])
        if second is not None and not second[1]:
            yield text[:place], second[0]
        elif not text.endswith(b'"'):
            yield text[:place], text[place + 1 :]


def _read_ids(reader: LineReader, fields: dict[bytes, bytes], first: int) -> dict[str, Any]:
    """Return the blob ids and the modes of both sides, by the names of the diff's fields."""
    index = INDEX.fullmatch(fields.get(b"index", b""))
    old_blob, new_blob, mode = index.groups() if index else (None, None, None)
    if mode is not None and mode not in MODES:
        raise _bad_mode(reader, mode, line=first)
    if (b"old mode" in fields) != (b"new mode" in fields):
        raise reader.fault("'old mode' and 'new mode' come together", line=first)
    old_mode, new_mode = fields.get(b"old mode", mode), fields.get(b"new mode", mode)
    if b"new file mode" in fields:
        old_mode, new_mode = None, fields[b"new file mode"]
    if b"deleted file mode" in fields:
        old_mode, new_mode = fields[b"deleted file mode"], None
    found = {"old_blob": old_blob, "new_blob": new_blob, "old_mode": old_mode, "new_mode": new_mode}
    return {name: value and value.decode("ascii") for name, value in found.items()}


def _bad_mode(reader: LineReader, mode: bytes, line: int | None = None) -> Exception:
    kinds = {b"120000": "a symbolic link", b"160000": "a submodule"}
    kind = kinds.get(mode, "neither 100644 nor 100755")
    return reader.fault(
        f"mode {mode.decode('ascii', 'backslashreplace')} is refused: {kind}", line=line
    )


def _parse_plain(reader: LineReader, strip: int) -> Header:
    """Return the header of a unified diff that git did not write."""
    names: list[bytes | None] = []
    for _ in range(2):
        text = reader.take()[4:].rstrip(b"\n")
        if text.endswith(b"\r"):
            raise reader.fault("the patch has CRLF line ends", hint="export it again, unconverted")
        quoted = split_quoted(text)
        name, _, stamp = text.partition(b"\t") if quoted is None else (quoted[0], b"", quoted[1])
        gone = name == DEV_NULL or EPOCH.fullmatch(stamp.strip()) is not None
        names.append(None if gone else _strip(name, strip))
    old, new = names
    if old is None and new is None:
        raise reader.fault("both names of this file say that it does not exist")
    # Plain diffs often compare with a backup (x.orig); the new name is the file's.
    path = decode_name(new if new is not None else old or b"")
    old_path, new_path = (None if name is None else path for name in names)
    return Header(FileDiff(old_path=old_path, new_path=new_path, hunks=()))


def _strip(name: bytes, count: int) -> bytes:
    """Return ``name`` without its first ``count`` components; ``b""`` where it has too few."""
    parts = name.split(b"/", count)
    return parts[count] if len(parts) > count else b""


def _percent(value: bytes | None) -> int | None:
    match = PERCENT.fullmatch(value or b"")
    return int(match[1]) if match else None
