"""Diff text to values."""

from __future__ import annotations

import re
from dataclasses import replace

from vllm_patchkit.diff.header import parse_header
from vllm_patchkit.diff.lines import LineReader
from vllm_patchkit.diff.model import FileDiff, Hunk, Line, Op
from vllm_patchkit.errors import PatchFormatError

# Nine digits are more lines than any file has, and fewer than int() refuses to read.
HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: (.*))?\n")
BINARY_FILES = re.compile(rb"Binary files .* differ\r?\n")
SIGNATURE = b"-- \n"
COUNTED = "take the patch back and change it with vllm-patchkit edit, which counts its lines"
OPS: dict[bytes, Op] = {b" ": " ", b"+": "+", b"-": "-"}


def parse_diff(
    data: bytes, *, strip: int = 1, source: str = "<diff>", first_line: int = 0
) -> tuple[FileDiff, ...]:
    """Return the file diffs in ``data``: git's form, or plain unified diffs.

    Text around the diffs (mail headers, prose, a diffstat, a signature) is passed over; what
    looks like a lost part of a diff is an error, never passed over. ``data`` may be hostile.

    :param strip: leading components to take off the names, as ``-p`` of ``git apply``.
    :param source: the file that an error message names.
    :param first_line: how many lines to leave unread, such as those of a mail's message.
    :raises PatchFormatError: with source and line.
    """
    reader = LineReader.from_bytes(data, source)
    reader.index = first_line
    files = []
    while _seek_header(reader):
        files.append(_parse_file(reader, strip))
    return tuple(files)


def _seek_header(reader: LineReader) -> bool:
    """Step to the next file header; False at the end."""
    while line := reader.peek():
        if line.startswith(b"diff --git ") or _is_plain_header(reader):
            return True
        reader.take()
        if HUNK.fullmatch(line):
            raise reader.fault("a hunk without a file header before it")
        if line.startswith((b"diff --cc ", b"diff --combined ")):
            raise reader.fault(
                "a combined diff of a merge cannot be applied",
                hint="export the merge as a diff against its first parent",
            )
        if BINARY_FILES.fullmatch(line):
            raise reader.fault(
                "a binary change without its content cannot be applied",
                hint="stacks carry source text only: leave the binary files out of the diff",
            )
    return False


def _is_plain_header(reader: LineReader) -> bool:
    return (
        reader.peek().startswith(b"--- ")
        and reader.peek(1).startswith(b"+++ ")
        and reader.peek(2).startswith(b"@@ -")
    )


def _parse_file(reader: LineReader, strip: int) -> FileDiff:
    first = reader.index + 1
    header = parse_header(reader, strip)
    payload = _parse_binary(reader)
    hunks = () if payload else _parse_hunks(reader)
    if not (payload or hunks or header.suffices):
        raise reader.fault("this header changes nothing", line=first)
    return replace(header.diff, hunks=hunks, binary=bool(payload), payload=payload)


def _parse_hunks(reader: LineReader) -> tuple[Hunk, ...]:
    hunks: list[Hunk] = []
    while reader.peek().startswith(b"@@"):
        if hunks and (hunks[-1].before[-1:] or b"\n") != b"\n":
            raise reader.fault("a hunk after the line that ends the file", line=reader.index + 1)
        hunk = _parse_hunk(reader)
        if hunks and hunk.old_start < hunks[-1].old_start + hunks[-1].old_count:
            raise reader.fault("hunks overlap or are out of order")
        hunks.append(hunk)
    if hunks:
        _require_hunk_end(reader)
    return tuple(hunks)


def _parse_hunk(reader: LineReader) -> Hunk:
    header = reader.take()
    match = HUNK.fullmatch(header)
    if match is None:
        raise reader.fault(f"malformed hunk header {_show(header)}")
    old_start, old_count, new_start, new_count = (
        1 if count is None else int(count) for count in match.groups()[:4]
    )
    for start, count in ((old_start, old_count), (new_start, new_count)):
        if not start and count:
            raise reader.fault(f"hunk header {_show(header)} counts lines from 0")
    lines = _parse_hunk_lines(reader, old_count, new_count)
    return Hunk(
        old_start=old_start,
        old_count=old_count,
        new_start=new_start,
        new_count=new_count,
        section=match[5] or b"",
        lines=lines,
    )


def _parse_hunk_lines(reader: LineReader, old_count: int, new_count: int) -> tuple[Line, ...]:
    """Return exactly the lines that the hunk header counts."""
    first = reader.index
    lines: list[Line] = []
    old, new, ended = old_count, new_count, ""
    while old or new or reader.peek().startswith(b"\\ "):
        raw = reader.take()
        if raw.startswith(b"\\ "):
            ended += _close_end(reader, lines)
            continue
        line = _parse_line(reader, raw, first)
        old -= line.op != "+"
        new -= line.op != "-"
        if old < 0 or new < 0:
            raise _miscount(reader, first)
        if ended and (line.op == " " or line.op in ended):
            raise reader.fault("a line after the one without a line end")
        lines.append(line)
    if not lines:
        raise reader.fault("an empty hunk", line=first)
    return tuple(lines)


def _parse_line(reader: LineReader, raw: bytes, first: int) -> Line:
    if not raw:
        raise reader.fault(f"the file ends inside the hunk of line {first}", line=len(reader.lines))
    if not raw.endswith(b"\n"):
        raise reader.fault("the file ends in the middle of a line")
    # GNU diff can write an empty context line without its space (--suppress-blank-empty).
    if raw == b"\n":
        return Line(" ", raw)
    op = OPS.get(raw[:1])
    if op is None:
        raise _miscount(reader, first)
    return Line(op, raw[1:])


def _close_end(reader: LineReader, lines: list[Line]) -> str:
    """Take the line end off the line before ``\\ No newline at end of file``; return its sides."""
    if not lines or not lines[-1].content.endswith(b"\n"):
        raise reader.fault("'\\ No newline' does not follow a line of the hunk")
    op = lines[-1].op
    lines[-1] = Line(op, lines[-1].content[:-1])
    return "-+" if op == " " else op


def _require_hunk_end(reader: LineReader) -> None:
    """Refuse lines that a hunk header did not count: git would drop them without a word."""
    line = reader.peek()
    if line.startswith((b"+", b"-", b" ")) and line != SIGNATURE and not _is_plain_header(reader):
        reader.take()
        raise reader.fault(
            f"the hunk before has more lines than its header counts: {_show(line)}",
            hint=COUNTED,
        )


def _miscount(reader: LineReader, first: int) -> PatchFormatError:
    return reader.fault(
        f"the hunk of line {first} does not have the lines that its header counts: "
        f"{_show(reader.peek(-1))}",
        hint=COUNTED,
    )


def _parse_binary(reader: LineReader) -> bytes:
    """Return the text of a binary change, or ``b""`` where the change is not binary."""
    first = reader.index
    if reader.peek().startswith(b"Binary files "):
        return reader.take()
    if reader.peek() != b"GIT binary patch\n":
        return b""
    reader.take()
    while reader.peek().startswith((b"literal ", b"delta ")):
        while reader.peek() not in (b"\n", b""):
            reader.take()
        if not reader.take():
            raise reader.fault("the file ends inside a binary change", line=len(reader.lines))
    return b"".join(reader.lines[first : reader.index])


def _show(line: bytes) -> str:
    text = line.rstrip(b"\n").decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 100 else text[:97] + "...")
