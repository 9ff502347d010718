"""A commit message in the one form that git, GNU patch and this package all read as prose."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

SPACE = " \t\n\r"
# Where `git am` takes the message to end (git's mailinfo.c).
BREAK = re.compile(r"diff -|Index: |---(?: \S|\s*\Z)")
# What GNU patch takes for a part of a diff, at any indentation, in any nesting (patch(1)).
QUOTED_DIFF = re.compile(
    r"[ \tX]*(?:- )*(?:diff -|Index:|Prereq:|--- |\+\+\+ |@@ -\d|\*{15}|GIT binary patch)"
)
# What `git mailsplit` takes for the start of the next mail.
MBOX_FROM = re.compile(r"From .*\d:\d\d")
# What `git am` takes for a header where a body starts with it.
BODY_HEADER = re.compile(r"(?i:from|subject|date):(?:\s|\Z)|>From(?:\s|\Z)|\[PATCH\](?:\s|\Z)")
REPLY = re.compile(r"[rR][eE]:(?=.)|[ \t:]")
BRACKET = re.compile(r"\[[^\]]*\][ \t]?")


def ends_message(line: str) -> bool:
    """Return whether ``git am`` takes this line for the first one that is not the message's.

    >>> [ends_message(line) for line in ("---", "--- a/x.py", "---  rule", "--------")]
    [True, True, False, False]
    """
    return BREAK.match(line) is not None


def message_end(lines: Sequence[str]) -> int | None:
    """Return the index of the line that ends the message, None where no line does."""
    return next((index for index, line in enumerate(lines) if ends_message(line)), None)


def clean_subject(text: str) -> str:
    """Return a subject as ``git am --keep-non-patch`` leaves it: no ``Re:``, no ``[PATCH n/m]``.

    >>> clean_subject("Re: [PATCH v2 1/3] [Core]  Fix it")
    '[Core] Fix it'
    """
    kept, rest = "", text
    while rest:
        if match := REPLY.match(rest):
            rest = rest[match.end() :]
        elif match := BRACKET.match(rest):
            if "PATCH" not in match[0]:
                kept += match[0]
            rest = rest[match.end() :]
        else:
            break
    return re.sub(rf"[{SPACE}]+", " ", kept + rest).strip(SPACE)


def clean_lines(lines: Sequence[str]) -> list[str]:
    """Return lines as ``git stripspace`` leaves them: no blanks at ends, one empty line at most."""
    kept: list[str] = []
    for line in (line.rstrip(SPACE) for line in lines):
        if line or (kept and kept[-1]):
            kept.append(line)
    return kept if not kept or kept[-1] else kept[:-1]


def split_message(text: str) -> tuple[str, list[str]]:
    """Return subject and body of a commit message, cleaned as git does."""
    lines = clean_lines(text.split("\n"))
    end = next((index for index, line in enumerate(lines) if not line), len(lines))
    return clean_subject(" ".join(lines[:end])), clean_lines(lines[end:])


def find_hazards(body: Sequence[str]) -> Iterator[int]:
    """Yield the index of each line of a body that some tool takes for anything but prose."""
    for index, line in enumerate(body):
        first = index == 0 and BODY_HEADER.match(line)
        if first or ends_message(line) or QUOTED_DIFF.match(line) or MBOX_FROM.match(line):
            yield index


def settle_message(text: str) -> str:
    """Return a commit message that comes out of a patch file as it went in.

    Lines that git or GNU patch would take for a diff, a separator or another mail are quoted,
    with ``> `` before them. Settling what is settled changes nothing.
    """
    subject, body = split_message(text)
    hazards = set(find_hazards(body))
    body = [f"> {line}" if index in hazards else line for index, line in enumerate(body)]
    return "\n".join([subject, *([""] if body else []), *body]) + "\n"
