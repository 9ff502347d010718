"""Parts of a file on a web server, by HTTP range requests (RFC 9110, section 14).

Every answer is believed only as far as it says what was asked for: status, range, length, tag.
"""

from __future__ import annotations

import re
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from vllm_patchkit.errors import NoRanges

TIMEOUT_S = 30.0
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RangeReader:
    """A file on a web server; ``size_bytes`` is what its first answer said.

    :param name: what messages call it; an address may hold a password.
    :param context: whom to trust, for ``https``.
    :raises NoRanges: the server gives no parts.
    """

    def __init__(self, url: str, name: str, context: Any = None) -> None:
        self.name = name
        self.size_bytes = 0
        self.fetched_bytes = 0
        self._url, self._context, self._tag = url, context, ""
        self.pread(0, 4)

    def pread(self, offset: int, length: int) -> bytes:
        """Return exactly the bytes at ``offset``.

        :raises NoRanges: the answer is not these bytes, and of the same file as before.
        """
        if length <= 0:
            return b""
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        try:
            with open_url(self._url, headers, self._context) as answer:
                self._check(answer, offset, length)
                data: bytes = answer.read(length + 1)
        except (URLError, HTTPException, OSError, ValueError) as error:
            raise NoRanges(f"{self.name}: no part of it can be had: {error}") from None
        if len(data) != length:
            raise NoRanges(f"{self.name}: {len(data)} bytes came, not the {length} asked for")
        self.fetched_bytes += length
        return data

    def _check(self, answer: Any, offset: int, length: int) -> None:
        if answer.status != 206:
            raise NoRanges(f"{self.name}: the server gives no parts of it (status {answer.status})")
        said = answer.headers.get("Content-Range") or ""
        found = CONTENT_RANGE.fullmatch(said)
        wanted = (offset, offset + length - 1)
        if found is None or (int(found[1]), int(found[2])) != wanted:
            asked = f"{wanted[0]}-{wanted[1]}"
            raise NoRanges(f"{self.name}: bytes {asked} were asked for, the answer is {said!r}")
        size, tag = int(found[3]), answer.headers.get("ETag") or ""
        if self.size_bytes and (size, tag) != (self.size_bytes, self._tag):
            raise NoRanges(f"{self.name}: it changed while it was read")
        self.size_bytes, self._tag = size, tag


def open_url(url: str, headers: dict[str, str], context: Any) -> Any:
    """Open an address of a web server; no other kind, and from https to nothing less.

    :raises NoRanges: it is none, or leads to none.
    """
    _require_web(url, url)
    answer = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S, context=context)
    try:
        _require_web(answer.url, url)
    except NoRanges:
        answer.close()
        raise
    return answer


def _require_web(url: str, asked: str) -> None:
    allowed = ("https:",) if asked.startswith("https:") else ("https:", "http:")
    if not url.startswith(allowed):
        raise NoRanges(f"an address that begins with {url.partition('/')[0]} gives no parts")
