"""What people keep patches in today: folders of diffs, mailboxes, quilt series, single diffs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vllm_patchkit.errors import PatchFormatError, UsageError
from vllm_patchkit.fork.intake.mailbox import RawPatch, commentary, read_mails
from vllm_patchkit.fork.intake.note import Kind, Note
from vllm_patchkit.fork.intake.text import clean_text, decode_prose
from vllm_patchkit.host.files import list_files
from vllm_patchkit.host.permission import explain_denial
from vllm_patchkit.stack.message import parse_address

SUFFIXES = (".patch", ".diff")
MBOX_START = re.compile(rb"(?m)^From [0-9a-f]{40,64} \w{3} \w{3} +\d")
MAIL_HEADER = re.compile(rb"(?mi)^(?:From|Subject|Date): ")
DIFF_START = re.compile(
    rb"(?m)^(?:diff --git |diff -|Index: |--- .*\n\+\+\+ |Binary files .* differ\r?$)"
)
ONLY_IN = re.compile(rb"(?m)^Only in .+: .+$")
# So that NNNN-Change-<path>.patch is no longer than git lets a name be.
PATH_LENGTH = 45
QUILT_OPTION = re.compile(r"-p(?:ab|(\d+))")
# DEP-3 fields that carry what a mail would: https://dep-team.pages.debian.net/deps/dep3/
DEP3 = re.compile(r"(?i)^(description|subject|author|from|date|last-update): ?(.*)$")


@dataclass(kw_only=True, slots=True)
class Found:
    """What is in the files: patches in the order in which they apply, and what is no patch."""

    patches: list[RawPatch] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def note(self, kind: Kind, source: str, text: str) -> None:
        """Remember something about a file."""
        self.notes.append(Note(kind=kind, source=source, text=text))


def read_patches(paths: Sequence[Path]) -> Found:
    """Return the patches in files and folders, in the order in which they apply.

    A folder with a ``series`` is quilt's; another one gives its ``*.patch`` and ``*.diff`` files
    at any depth, sorted by path; every other file may hold one diff or a mailbox.

    :raises UsageError: a path does not exist or holds no patch.
    :raises PatchFormatError: a file that a ``series`` lists holds none; or see ``read_mails``.
    """
    found = Found()
    for path in paths:
        before = len(found.patches)
        if path.is_dir():
            looked_at = _read_folder(path, found)
        else:
            looked_at = 1
            _read_file(path, _printable(path.name), None, found)
        if len(found.patches) == before:
            raise _no_patch(path, looked_at)
    return found


def _printable(name: str) -> str:
    """Return a file's name as text, which a message can be made of; a name may be any bytes."""
    return decode_prose(os.fsencode(name))


def _no_patch(path: Path, looked_at: int) -> UsageError:
    if not looked_at:
        return UsageError(f"{path} holds no patch", hint="files end in .patch or .diff")
    what = "it" if not path.is_dir() else f"its {looked_at} files that end in .patch or .diff"
    return UsageError(
        f"{path} holds no patch: no line in {what} starts a diff",
        hint="a diff starts with 'diff --git', or with '--- ' and '+++ '; look at the file",
    )


def _read_folder(folder: Path, found: Found) -> int:
    """Read a folder and return how many files were looked at."""
    series = folder / "series"
    if series.is_file():
        return _read_quilt(folder, series, found)
    files = [path for path in list_files(folder) if path.suffix in SUFFIXES]
    for path in files:
        name = _printable(path.relative_to(folder).as_posix())
        if not _read_file(path, name, name.removesuffix(path.suffix), found):
            found.note("left out", name, "left out: no line in it starts a diff")
    return len(files)


def _read_quilt(folder: Path, series: Path, found: Found) -> int:
    count = 0
    text, _ = clean_text(series.read_bytes(), str(series))
    for number, line in enumerate(text.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if not words:
            continue
        strip = _quilt_strip(words[1:], f"{series}:{number}")
        before = len(found.patches)
        if not _read_file(folder / words[0], _printable(words[0]), None, found):
            raise PatchFormatError(
                f"{series}:{number}: {_printable(words[0])} holds no diff",
                hint="mend the file, or take its line out of the series",
            )
        found.patches[before:] = [replace(one, strip=strip) for one in found.patches[before:]]
        count += 1
    return count


def _quilt_strip(options: Sequence[str], place: str) -> int | None:
    strip = None
    for option in options:
        match = QUILT_OPTION.fullmatch(option)
        if match is None:
            raise PatchFormatError(
                f"{place}: the option {option} is not supported",
                hint="import takes -p0, -p1, ... and -pab; a reversed patch must be rewritten",
            )
        strip = int(match[1]) if match[1] else None
    return strip


def _read_file(path: Path, name: str, hint: str | None, found: Found) -> bool:
    """Read one file and return whether anything in it is a patch, or is named as none."""
    try:
        raw = path.read_bytes()
    except PermissionError:
        raise explain_denial(path) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    before = len(found.patches), len(found.notes)
    data, notes = clean_text(raw, name)
    start = DIFF_START.search(data)
    head = data[: start.start()] if start else data
    if len(set(MAIL_HEADER.findall(head.replace(b"\r", b"")))) > 1 or MBOX_START.match(data):
        _read_mails(data, name, found)
    elif start is not None:
        found.patches.append(_read_diff(data, head, name, hint))
        for line in ONLY_IN.findall(data):
            text = f"left out: {line.decode('utf-8', 'replace').strip()} (diff -N has its content)"
            found.note("left out", name, text)
    if (len(found.patches), len(found.notes)) == before:
        return False
    for note in notes:
        found.note("decoded", name, note)
    return True


def _read_mails(data: bytes, name: str, found: Found) -> None:
    mails = list(read_mails(data, name))
    for number, mail in enumerate(mails, 1):
        source = name if len(mails) == 1 else f"{name} (mail {number})"
        subject = mail.subject or name
        if not mail.data:
            found.note("left out", source, f"left out: no diff is in the mail {subject!r}")
            continue
        if lines := commentary(mail.data):
            text = f"left out: {len(lines)} lines after ---, from {lines[0]!r} on, are no message"
            found.note("left out", source, text)
        if mail.quoted is not None:
            found.note("quoted", source, f"the message quotes a diff ({mail.quoted}); kept as text")
        found.patches.append(replace(mail, source=source, subject=subject))


def _read_diff(data: bytes, head: bytes, name: str, hint: str | None) -> RawPatch:
    """Return the patch of a bare diff; text before it is its description, as in quilt."""
    lines = decode_prose(head).replace("\r\n", "\n").split("\n")
    fields: dict[str, str] = {}
    prose = []
    for line in lines:
        match = DEP3.match(line)
        if match and match[1].lower() not in fields:
            fields[match[1].lower()] = match[2].strip()
        elif not line.startswith(("Index: ", "=====", "diff ")):
            prose.append(line[1:] if fields and line.startswith(" ") else line)
    text = "\n".join(prose).strip("\n").removesuffix("---").strip("\n")
    subject = fields.get("subject") or fields.get("description") or ""
    if not subject:
        subject, _, text = text.partition("\n")
    author, email = parse_address(fields.get("author") or fields.get("from") or "")
    return RawPatch(
        source=name,
        data=data[len(head) :],
        subject=subject.strip() or f"Change {shorten_path(hint or Path(name).stem)}",
        body=text.strip("\n"),
        author=author,
        email=email,
        date=fields.get("date", ""),
        hint=hint,
    )


def shorten_path(path: str) -> str:
    """Return a path that fits into a subject whose file name is not cut, its folders left out.

    >>> shorten_path("vllm/distributed/kv_transfer/kv_connector/v1/multi_connector.py")
    'vllm/.../kv_connector/v1/multi_connector.py'
    """
    parts = path.split("/")
    for gap in range(len(parts) - 1):
        short = "/".join([parts[0], "...", *parts[1 + gap :]]) if gap else path
        if len(short) <= PATH_LENGTH:
            return short
    return parts[-1]
