"""Where a package index has a release's wheel. Pages: PEP 691 (JSON) and PEP 503 (HTML).

The index is the one that pip is set to. What it says of a file is not proved by anything.
"""

from __future__ import annotations

import ast
import json
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from vllm_patchkit.errors import NoRanges, PatchkitError
from vllm_patchkit.host.process import isolated, run
from vllm_patchkit.wheel.metadata import normalize_name
from vllm_patchkit.wheel.ranges import RangeReader, open_url

DEFAULT_INDEX = "https://pypi.org/simple"
JSON_PAGE = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON_PAGE}, text/html;q=0.2"
MAX_PAGE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A file of an index."""

    name: str
    url: str


def pip_indexes() -> tuple[list[str], ssl.SSLContext]:
    """Return which indexes pip asks, in order, and whom it trusts: its files and ``PIP_*``.

    :raises PatchkitError: there is no pip.
    :raises OSError: there is no such certificate.
    """
    settings = parse_settings(run([*isolated(sys.executable, "pip"), "config", "list"]).decode())
    urls = [settings.get("index-url", DEFAULT_INDEX)]
    urls += settings.get("extra-index-url", "").split()
    if settings.get("no-index", "0").lower() not in ("0", "false", "no", "off", ""):
        urls = []
    return urls, ssl.create_default_context(cafile=settings.get("cert"))


def parse_settings(text: str) -> dict[str, str]:
    """Return what ``pip config list`` says for downloading; a variable beats the files.

    >>> parse_settings("global.index-url='a'\\n:env:.index-url='b'\\n")
    {'index-url': 'b'}
    """
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found:
            found[section][name] = str(ast.literal_eval(value))
    return {**found["global"], **found["download"], **found[":env:"]}


def open_release(distribution: str, version: str) -> RangeReader:
    """Return a wheel of a release, of which parts can be had.

    :raises NoRanges: no index of pip's has one, or gives parts of it.
    """
    try:
        urls, context = pip_indexes()
    except (PatchkitError, OSError) as error:
        raise NoRanges(f"pip's settings cannot be had: {error}") from None
    for url in urls:
        links = _read_index(f"{url.rstrip('/')}/{normalize_name(distribution)}/", context)
        found = choose_wheel(links, distribution, version)
        if found is not None:
            return RangeReader(found.url, found.name, context)
    raise NoRanges(f"no index that pip is set to lists a wheel of {distribution} {version}")


def _read_index(url: str, context: ssl.SSLContext) -> list[Link]:
    """Return the files of a project's page, none where there is no such page."""
    try:
        with open_url(url, {"Accept": ACCEPT}, context) as answer:
            data = answer.read(MAX_PAGE_BYTES + 1)
            kind = answer.headers.get_content_type()
            place = answer.url
    except (URLError, HTTPException, OSError, ValueError, NoRanges):
        return []
    if len(data) > MAX_PAGE_BYTES:
        return []
    found = parse_json if kind == JSON_PAGE else parse_html
    return [Link(name=link.name, url=urljoin(place, link.url)) for link in found(data)]


def parse_json(data: bytes) -> list[Link]:
    """Return the files of a page in JSON; what is no file is passed over."""
    try:
        entries = json.loads(data)["files"]
        return [link for entry in entries if (link := _json_link(entry)) is not None]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []


def _json_link(entry: Any) -> Link | None:
    if not isinstance(entry, Mapping):
        return None
    name, url = entry.get("filename"), entry.get("url")
    return Link(name=name, url=url) if isinstance(name, str) and isinstance(url, str) else None


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "base" and href:
            self.base = href
        elif tag == "a" and href:
            self.hrefs.append(href)


def parse_html(data: bytes) -> list[Link]:
    """Return the files of a page in HTML: an anchor's last part is the file's name."""
    parser = _Anchors()
    parser.feed(data.decode("utf-8", "replace"))
    return list(_html_links(parser))


def _html_links(parser: _Anchors) -> Iterator[Link]:
    for href in parser.hrefs:
        try:
            url = urljoin(parser.base, href.partition("#")[0])
            name = unquote(urlsplit(url).path.rpartition("/")[2])
        except ValueError:
            continue
        yield Link(name=name, url=url)


def choose_wheel(links: list[Link], distribution: str, version: str) -> Link | None:
    """Return a wheel of a release; for any machine, or for x86_64, before others."""
    found = [link for link in links if _is_of(link.name, distribution, version)]

    def rank(link: Link) -> tuple[bool, bool, str]:
        return "-none-any" not in link.name, "x86_64" not in link.name, link.name

    return min(found, key=rank, default=None)


def _is_of(file: str, distribution: str, version: str) -> bool:
    try:
        name, found, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return False
    return name == normalize_name(distribution) and found == Version(version)
