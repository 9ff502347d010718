"""Mails with patches in them, read by ``git mailinfo``; where one begins and ends is decided here.

git looks for no more than a line that says ``From ... 12:00 2026``, or one that could start a
diff. Here the rest of the mail is looked at too, so that what a message quotes stays text.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import PatchFormatError
from vllm_patchkit.fork.intake.text import decode_prose
from vllm_patchkit.fork.store.git import git_environment
from vllm_patchkit.host.process import run

FROM_LINE = re.compile(rb"(?m)^From .*\d:\d\d.*\n(?=[A-Za-z][A-Za-z0-9-]*:[ \t])")
HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
GIT_HEADER = re.compile(
    rb"diff --git |(?:old|new|deleted file|new file) mode |(?:rename|copy) (?:from|to) "
    rb"|(?:dis)?similarity index |index [0-9a-f]|--- |\+\+\+ |Binary files |GIT binary patch"
    rb"|(?:literal|delta) \d|\\ No newline"
)
PLAIN_TEXT = re.compile(rb"Index: |=+$|Only in |diff |retrieving |RCS file:|-- $|\d+\.\d+\.\d+")
STAT = re.compile(rb"(?m)^ (\d+) files? changed")


@dataclass(frozen=True, kw_only=True, slots=True)
class RawPatch:
    """One patch as somebody left it.

    :param source: what a report calls it: the file, and the number of the mail in it.
    :param hint: the target that the file's own place names (``v1/request.py.patch``), or None.
    :param strip: the ``-p`` that its quilt series gives, or None.
    :param quoted: the first line of a diff that the message quotes, None where it quotes none.
    """

    source: str
    data: bytes
    subject: str
    body: str = ""
    author: str = ""
    email: str = ""
    date: str = ""
    hint: str | None = None
    strip: int | None = None
    quoted: str | None = None


def split_mails(data: bytes) -> list[bytes]:
    """Return the mails of a mailbox; a line ``From ...`` starts one where headers follow it."""
    starts = [match.start() for match in FROM_LINE.finditer(data)]
    starts = [place for place in starts if not place or data[:place].endswith(b"\n\n")]
    if not starts or data[: starts[0]].strip():
        starts.insert(0, 0)
    ends = [*starts[1:], len(data)]
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def read_mails(data: bytes, source: str) -> Iterator[RawPatch]:
    """Yield the mails of a mailbox, decoded as ``git am`` would.

    :raises PatchFormatError: nothing tells the diff from one that the message quotes.
    """
    # Where every line ends in CRLF a mail program did it; else a CR belongs to the content.
    if data.count(b"\r\n") >= data.count(b"\n"):
        data = data.replace(b"\r\n", b"\n")
    for mail in split_mails(data):
        yield _read_mail(mail, source)


def _read_mail(mail: bytes, source: str) -> RawPatch:
    with tempfile.TemporaryDirectory(prefix="patchkit-") as held:
        message, patch = Path(held, "message"), Path(held, "patch")
        argv = ("git", "mailinfo", "-b", "--encoding=UTF-8", "--no-scissors")
        env = git_environment()
        info = run([*argv, message, patch], input_bytes=mail, env=env, cwd=Path(held))
        text, diff = message.read_bytes(), patch.read_bytes()
    # mailinfo converts the text, but no header that holds bytes where an encoded word belongs.
    pairs = (decode_prose(line).split(": ", 1) for line in info.split(b"\n"))
    fields = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    more, diff, quoted = take_quoted(diff, source)
    return RawPatch(
        source=source,
        data=diff,
        subject=fields.get("Subject", "").strip(),
        body=(decode_prose(text) + decode_prose(more)).strip("\n"),
        author=fields.get("Author", ""),
        email=fields.get("Email", ""),
        date=fields.get("Date", ""),
        quoted=quoted,
    )


def take_quoted(patch: bytes, source: str) -> tuple[bytes, bytes, str | None]:
    """Return what of ``patch`` is still the message, the patch, and the first line quoted in it.

    ``git format-patch`` puts one line ``---`` between the two. What stands before it belongs to
    the message, a diff or another line ``---`` too.

    :param patch: a mail from the first line on that could start a diff.
    :raises PatchFormatError: there is no such line, and more than one thing that may be the diff.
    """
    lines = _lines(patch)
    marks = [index for index, line in _outside_hunks(lines) if line.rstrip() == b"---"]
    parts = zip([0, *marks], [*marks, len(lines)], strict=True)
    headers = [found for part in parts if (found := _find_header(lines, *part)) is not None]
    if not headers:
        return b"", b"", None
    start = max((mark for mark in marks if mark < headers[-1]), default=0)
    if lines[start].rstrip() != b"---":
        _require_one_diff(lines, source)
    quoted = None
    if len(headers) > 1:
        _require_stat(lines[start:], source)
        quoted = lines[headers[0]].decode("utf-8", "replace").strip()
    return b"".join(lines[:start]), b"".join(lines[start:]), quoted


def commentary(patch: bytes) -> tuple[str, ...]:
    """Return the lines between ``---`` and the diff, those of the summary of changes left out."""
    lines = _lines(patch)
    end = _find_header(lines, 0, len(lines))
    if end is None or lines[0].rstrip() != b"---":
        return ()
    said = (line for line in lines[1:end] if line.strip() and not line.startswith(b" "))
    return tuple(line.decode("utf-8", "replace").strip() for line in said)


def _lines(data: bytes) -> list[bytes]:
    """Return lines that end at a LF and at nothing else; a CR is content."""
    return io.BytesIO(data).readlines()


def _outside_hunks(lines: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield index and line of all that the hunks do not count."""
    index = 0
    while index < len(lines):
        match = HUNK.match(lines[index])
        yield index, lines[index]
        index += 1
        if match:
            old, new = (1 if count is None else int(count) for count in match.groups())
            while index < len(lines) and (old > 0 or new > 0 or lines[index][:1] == b"\\"):
                mark = lines[index][:1]
                if mark not in b" +-\\\n":
                    break
                old -= mark in b" -\n"
                new -= mark in b" +\n"
                index += 1


def _find_header(lines: Sequence[bytes], start: int, stop: int) -> int | None:
    """Return the first line in a range that starts the diff of a file."""
    stop = min(stop, len(lines))
    for index in range(start, stop):
        plain = lines[index].startswith(b"--- ") and index + 2 < stop
        if lines[index].startswith(b"diff --git ") or (
            plain and lines[index + 1].startswith(b"+++ ") and HUNK.match(lines[index + 2])
        ):
            return index
    return None


def _require_stat(lines: Sequence[bytes], source: str) -> None:
    """Compare the diffs after ``---`` with the summary there, where there is one."""
    said = STAT.search(b"".join(lines[: _find_header(lines, 0, len(lines))]))
    found = sum(line.startswith(b"diff --git ") for _, line in _outside_hunks(lines))
    if said and int(said[1]) != found:
        raise PatchFormatError(
            f"{source}: the mail says that {said[1].decode()} files changed, but holds the diffs "
            f"of {found}: nothing tells which of its diffs the message only quotes",
            hint="export it again with git format-patch, or indent what the message quotes",
        )


def _require_one_diff(lines: Sequence[bytes], source: str) -> None:
    """Refuse what may be a quoted diff and then the mail's own, with no ``---`` between them.

    git writes its diffs one right after the other, and never one without ``diff --git``.
    """
    outside = list(_outside_hunks(lines))
    headers = [index for index, _ in outside if _find_header(lines, index, index + 3) == index]
    by_git = [index for index, line in outside if line.startswith(b"diff --git ")]
    if not by_git or len(headers) < 2:
        return
    between = (
        index
        for index, line in outside
        if headers[0] < index < headers[-1]
        and not (GIT_HEADER.match(line) or HUNK.match(line) or PLAIN_TEXT.match(line))
    )
    odd = headers[0] if headers[0] < by_git[0] else next(between, None)
    if odd is not None:
        raise PatchFormatError(
            f"{source}: {_show(lines[odd])} stands before a diff of git, and {_show(lines[0])} may "
            "start another one: nothing tells which of them the message only quotes",
            hint="export it with git format-patch, which ends a message with ---, or indent what "
            "the message quotes",
        )


def _show(line: bytes) -> str:
    return repr(line.decode("utf-8", "replace").strip()) if line.strip() else "an empty line"
