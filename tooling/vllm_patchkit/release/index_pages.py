"""The pages of a package index. Pure: files as values in, bytes out, the same for the same files.

Sources: PEP 503 and 629 (HTML), 691 and 700 (JSON), 658 and 714 (metadata files). A link to a
statement about a file is no key of theirs, and is marked as the specifications ask: ``data-`` in
HTML, a leading underscore in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

API_VERSION = "1.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexedFile:
    """One wheel of an index, and the statements (provenance, signature) that lie beside it."""

    name: str
    version: str
    sha256: str
    size_bytes: int
    metadata_sha256: str
    requires_python: str | None
    statements: tuple[str, ...]


def format_root(projects: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the pages that list the projects, as HTML and as JSON."""
    links = [f'<a href="{quote(name)}/">{escape(name)}</a><br>' for name in projects]
    document = {
        "meta": {"api-version": API_VERSION},
        "projects": [{"name": name} for name in projects],
    }
    return _page("Simple index", links), _json(document)


def format_html(project: str, files: Sequence[IndexedFile]) -> bytes:
    """Return the page of a project."""
    return _page(f"Links for {project}", [_link(file) for file in files])


def _link(file: IndexedFile) -> str:
    digest = f"sha256={file.metadata_sha256}"
    marks = {"data-core-metadata": digest, "data-dist-info-metadata": digest}
    if file.requires_python:
        marks["data-requires-python"] = file.requires_python
    if file.statements:
        marks["data-statements"] = " ".join(quote(name) for name in file.statements)
    words = "".join(f' {key}="{escape(value)}"' for key, value in marks.items())
    href = f"{quote(file.name)}#sha256={file.sha256}"
    return f'<a href="{href}"{words}>{escape(file.name)}</a><br>'


def _page(title: str, lines: Sequence[str]) -> bytes:
    head = (
        "<!DOCTYPE html>\n<html>\n<head>\n"
        f'<meta name="pypi:repository-version" content="{API_VERSION}">\n'
        f'<meta charset="utf-8">\n<title>{escape(title)}</title>\n</head>\n<body>\n'
    )
    return (head + "".join(f"{line}\n" for line in lines) + "</body>\n</html>\n").encode()


def format_json(project: str, files: Sequence[IndexedFile]) -> bytes:
    """Return the page of a project for clients that read JSON."""
    document = {
        "meta": {"api-version": API_VERSION},
        "name": project,
        "versions": sorted({file.version for file in files}),
        "files": [_entry(file) for file in files],
    }
    return _json(document)


def _entry(file: IndexedFile) -> dict[str, object]:
    digest = {"sha256": file.metadata_sha256}
    entry: dict[str, object] = {
        "filename": file.name,
        "url": quote(file.name),
        "hashes": {"sha256": file.sha256},
        "size": file.size_bytes,
        "core-metadata": digest,
        "dist-info-metadata": digest,
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.statements:
        entry["_statements"] = [quote(name) for name in file.statements]
    return entry


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1).encode("ascii") + b"\n"
