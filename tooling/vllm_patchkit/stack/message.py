"""The mail around a patch, as ``git format-patch`` writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vllm_patchkit.stack.model import Message
from vllm_patchkit.stack.prose import clean_subject, message_end

MBOX_LINE = re.compile(r"From [0-9a-f]{40,64} .*")
HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)")
TRAILER = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]+(.*)")
ADDRESS = re.compile(r"(.*?)\s*<([^<>]*)>")
ENCODED_WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?\s]*)\?=")
ENCODED_RUN = re.compile(ENCODED_WORD.pattern + r"(?:\s+" + ENCODED_WORD.pattern + ")*")


def parse_message(data: bytes) -> Message:
    """Return what the mail says; a field that it lacks is empty.

    It never fails: what a stack must have is a rule of lint, not of reading.
    """
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    headers, rest = split_headers(lines)
    body = _cut_message(rest)
    author = headers.get("from", "")
    if body and body[0].startswith("From: "):
        # The author, where someone else sends the patch (git format-patch --from).
        author = body[0][len("From: ") :]
        body = body[1:]
    name, email = parse_address(decode_words(author))
    body, trailers = _split_trailers(body)
    return Message(
        author=name,
        email=email,
        date=headers.get("date", ""),
        subject=clean_subject(decode_words(headers.get("subject", ""))),
        body="\n".join(body).strip("\n"),
        trailers=trailers,
    )


def split_headers(lines: list[str]) -> tuple[Mapping[str, str], list[str]]:
    """Return the mail's headers (lower-case name -> unfolded value) and the lines after them."""
    place = 1 if lines and MBOX_LINE.fullmatch(lines[0]) else 0
    headers: dict[str, str] = {}
    name = None
    for index in range(place, len(lines)):
        line = lines[index].rstrip("\r")
        if not line:
            return headers, lines[index + 1 :]
        match = HEADER.fullmatch(line)
        if match:
            name = match[1].lower()
            headers[name] = match[2]
        elif name is not None and line[0] in " \t":
            headers[name] += " " + line.strip()
        else:
            return headers, lines[index:]
    return headers, []


def first_diff_line(data: bytes) -> int:
    """Return the index of the first line after the message; 0 where no line ends the message."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    _, rest = split_headers(lines)
    end = message_end(rest)
    return 0 if end is None else len(lines) - len(rest) + end


def _cut_message(lines: list[str]) -> list[str]:
    """Return the lines before the diff, as ``git am`` cuts them."""
    body = [line.rstrip("\r") for line in lines[: message_end(lines)]]
    while body and not body[0].strip():
        body.pop(0)
    return body


def _split_trailers(
    lines: list[str],
) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Split off the last paragraph where all of it is ``Key: value`` lines."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    start = end
    while start and lines[start - 1].strip():
        start -= 1
    trailers: list[tuple[str, str]] = []
    for line in lines[start:end]:
        match = TRAILER.fullmatch(line)
        if match:
            trailers.append((match[1], match[2].strip()))
        elif trailers and line[0] in " \t":
            key, value = trailers[-1]
            trailers[-1] = key, f"{value} {line.strip()}"
        else:
            return lines, ()
    return lines[:start], tuple(trailers)


def parse_address(text: str) -> tuple[str, str]:
    """Return name and address of a ``From:`` header; quotes around the name are taken off."""
    match = ADDRESS.fullmatch(text.strip())
    if match is None:
        return "", text.strip()
    name = match[1]
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, match[2]


def decode_words(text: str) -> str:
    """Return a header value with its RFC 2047 encoded words decoded.

    White space between two encoded words is not part of the text (RFC 2047, section 6.2); a
    word of an unknown charset stays as it is.
    """
    return ENCODED_RUN.sub(lambda found: _decode_run(found[0]), text)


def _decode_run(run: str) -> str:
    """Decode adjacent words; a character may be cut between two words of one charset."""
    # Slow to import, and few patches have such words.
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        parts = decode_header(run)
        return "".join(data.decode(charset or "ascii", "replace") for data, charset in parts)
    except (LookupError, ValueError, HeaderParseError):
        return run
