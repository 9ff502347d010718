"""What people keep patches in today: folders of diffs, mailboxes, quilt series, single diffs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vllm_patchkit.errors import PatchFormatError, UsageError
from vllm_patchkit.fork.store.git import git_environment
from vllm_patchkit.host.process import run
from vllm_patchkit.stack.message import parse_address

SUFFIXES = (".patch", ".diff")
MBOX_START = re.compile(rb"(?m)^From [0-9a-f]{40,64} \w{3} \w{3} +\d")
MAIL_HEADER = re.compile(rb"(?mi)^(?:From|Subject|Date): ")
DIFF_START = re.compile(rb"(?m)^(?:diff --git |diff -|Index: |--- .*\n\+\+\+ )")
QUILT_OPTION = re.compile(r"-p(?:ab|(\d+))")
# DEP-3 fields that carry what a mail would: https://dep-team.pages.debian.net/deps/dep3/
DEP3 = re.compile(r"(?i)^(description|subject|author|from|date|last-update): ?(.*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class RawPatch:
    """One patch as somebody left it.

    :param source: what a report calls it: the file, and the number of the mail in it.
    :param hint: the target that the file's own place names (``v1/request.py.patch``), or None.
    :param strip: the ``-p`` that its quilt series gives, or None.
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


def read_patches(paths: Sequence[Path]) -> list[RawPatch]:
    """Return the patches in files and folders, in the order in which they apply.

    A folder with a ``series`` is quilt's; another one gives its ``*.patch`` and ``*.diff`` files
    at any depth, sorted by path; every other file may hold one diff or a mailbox.

    :raises UsageError: a path does not exist or holds no patch.
    """
    patches: list[RawPatch] = []
    for path in paths:
        found = list(_read_folder(path)) if path.is_dir() else _read_file(path, path.name, None)
        if not found:
            raise UsageError(f"{path} holds no patch", hint="files end in .patch or .diff")
        patches += found
    return patches


def _read_folder(folder: Path) -> Iterator[RawPatch]:
    series = folder / "series"
    if series.is_file():
        yield from _read_quilt(folder, series)
        return
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    for path in files:
        name = path.relative_to(folder).as_posix()
        yield from _read_file(path, name, name.removesuffix(path.suffix))


def _read_quilt(folder: Path, series: Path) -> Iterator[RawPatch]:
    for number, line in enumerate(series.read_text("utf-8", "replace").splitlines(), 1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if not words:
            continue
        strip = None
        for option in words[1:]:
            match = QUILT_OPTION.fullmatch(option)
            if match is None:
                raise PatchFormatError(
                    f"{series}:{number}: the option {option} is not supported",
                    hint="import takes -p0, -p1, ... and -pab; a reversed patch must be rewritten",
                )
            strip = int(match[1]) if match[1] else None
        for patch in _read_file(folder / words[0], words[0], None):
            yield replace(patch, strip=strip)


def _read_file(path: Path, name: str, hint: str | None) -> list[RawPatch]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    start = DIFF_START.search(data)
    head = data[: start.start()] if start else data
    if len(set(MAIL_HEADER.findall(head.replace(b"\r", b"")))) > 1 or MBOX_START.match(data):
        return list(_read_mails(data, name))
    if start is None:
        return []
    return [_read_diff(data, head, name, hint)]


def _read_mails(data: bytes, name: str) -> Iterator[RawPatch]:
    """Split a mailbox and decode its mails, as ``git am`` would."""
    # Where every line ends in CRLF a mail program did it; else a CR belongs to the content.
    keep = ["--keep-cr"] if data.count(b"\r\n") < data.count(b"\n") else []
    env = git_environment()
    with tempfile.TemporaryDirectory(prefix="patchkit-") as held:
        folder = Path(held)
        argv = ["git", "mailsplit", *keep, "-b", f"-o{folder}"]
        run(argv, input_bytes=data, env=env, cwd=folder)
        mails = sorted(path for path in folder.iterdir() if path.name.isdigit())
        for number, mail in enumerate(mails, 1):
            message, patch = folder / "message", folder / "patch"
            argv = ["git", "mailinfo", "-b", "--encoding=UTF-8", "--no-scissors"]
            info = run([*argv, message, patch], input_bytes=mail.read_bytes(), env=env, cwd=folder)
            fields = dict(
                line.split(": ", 1) for line in info.decode("utf-8").splitlines() if ": " in line
            )
            yield RawPatch(
                source=name if len(mails) == 1 else f"{name} (mail {number})",
                data=patch.read_bytes(),
                subject=fields.get("Subject", "").strip() or name,
                body=message.read_text("utf-8", "surrogateescape").strip("\n"),
                author=fields.get("Author", ""),
                email=fields.get("Email", ""),
                date=fields.get("Date", ""),
            )


def _read_diff(data: bytes, head: bytes, name: str, hint: str | None) -> RawPatch:
    """Return the patch of a bare diff; text before it is its description, as in quilt."""
    lines = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
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
        subject=subject.strip() or f"Change {hint or Path(name).stem}",
        body=text.strip("\n"),
        author=author,
        email=email,
        date=fields.get("date", ""),
        hint=hint,
    )
