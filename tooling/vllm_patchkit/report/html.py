"""The report as one HTML page that needs nothing else. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.fork.rebase.outcome import PatchReport
from vllm_patchkit.report.model import (
    UPSTREAM_MARKS,
    Report,
    added_and_removed,
    anchor,
    purpose,
    touched,
    upstream_mark,
    upstream_status,
)
from vllm_patchkit.report.picture import draw
from vllm_patchkit.report.words import mark_hunk
from vllm_patchkit.stack.model import LockedFile, Patch

CLASSES = {" ": "same", "+": "add", "-": "del"}
SHORT = 12
PROSE = re.compile(r"(?![*+#>|-]\s|\d+[.)]\s)\S")
CODE = re.compile(r"`([^`\n]+)`")
SECTIONS = {
    "series": "Series",
    "files": "Files and overlaps",
    "rebase": "Rebase",
    "lock": "Lock",
    "patches": "Patches",
}


def format_html(report: Report) -> str:
    """Return the page: no script, no font, no address; the same text for the same report."""
    stack = report.stack
    style = files("vllm_patchkit.report").joinpath("style.css").read_text(encoding="utf-8")
    title = f"{stack.name} {report.label} on {stack.base.distribution} {stack.base.version}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{style}</style></head><body>",
        f"<header><h1>{escape(title)}</h1><p>{escape(stack.summary)}</p></header><main>",
        *_facts(report),
        *_contents(report),
        *_series(report),
        f'{_head("files")}<p class="dim">A dot is a change, its colour the subsystem. A solid arc '
        "joins two patches whose order is fixed, a dashed one two that change lines near each "
        f"other. The picture is {len(report.paths)} files wide; a narrow window scrolls it.</p>",
        '<div class="wide" tabindex="0" role="region" aria-label="Files and overlaps">',
        draw(report),
        "</div></section>",
        *_rebases(report),
        *_lock(report),
        _head("patches"),
        *(part for patch in stack.patches for part in _patch(patch)),
        "</section></main></body></html>\n",
    ]
    return "\n".join(parts)


def _facts(report: Report) -> Iterator[str]:
    stack = report.stack
    totals = [added_and_removed(patch) for patch in stack.patches]
    added, removed = sum(a for a, _ in totals), sum(r for _, r in totals)
    rows = [
        ("patches", f"{len(stack.patches)} in {len(report.paths)} files, +{added} -{removed}"),
        ("base", f"{stack.base.distribution} {stack.base.version}"),
        ("license", stack.license or "none is named"),
        ("stack digest", report.lock.digest if report.lock else "not locked"),
        *(("verified", line) for line in report.verification),
    ]
    yield '<section><table class="facts">'
    for name, value in rows:
        yield f'<tr><th>{escape(name)}</th><td class="hash">{escape(value)}</td></tr>'
    yield "</table></section>"


def _contents(report: Report) -> Iterator[str]:
    there = {"rebase": bool(report.rebases), "lock": report.lock is not None}
    links = [
        f'<a href="#{key}">{title}</a>' for key, title in SECTIONS.items() if there.get(key, True)
    ]
    yield f'<nav aria-label="Contents">{" ".join(links)}</nav>'


def _head(key: str) -> str:
    return f'<section id="{key}"><h2>{SECTIONS[key]}</h2>'


def _table(heads: Sequence[str]) -> str:
    cells = "".join(f"<th>{escape(head)}</th>" for head in heads)
    return f'<table class="cards"><thead><tr>{cells}</tr></thead><tbody>'


def _cell(head: str, markup: str, attributes: str = "") -> str:
    """Return a cell that says its column by itself where a narrow window stacks the row."""
    return f'<td data-head="{escape(head)}"{attributes}>{markup}</td>'


def _prose(text: str) -> str:
    """Return text as markup, with what stands in backticks as code.

    >>> _prose("use `a < b`")
    'use <code>a &lt; b</code>'
    """
    return CODE.sub(r"<code>\1</code>", escape(text))


def _flowing(text: str) -> str:
    """Return a message whose paragraphs have no line breaks; lists and indented lines keep theirs.

    >>> _flowing("one\\ntwo\\n\\n- a\\n- b")
    'one two\\n\\n- a\\n- b'
    """
    lines: list[str] = []
    for line in text.split("\n"):
        if lines and PROSE.match(lines[-1]) and PROSE.match(line):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _series(report: Report) -> Iterator[str]:
    heads = ("Patch", "Purpose", "Subsystem", "Upstream", "Lines")
    used = {upstream_mark(patch) for patch in report.stack.patches}
    legend = ", ".join(f"{mark} {words}" for mark, words in UPSTREAM_MARKS.items() if mark in used)
    yield _head("series")
    yield f'<p class="dim">Upstream: {legend}. Each patch below has its trailers.</p>'
    yield _table(heads)
    for patch in report.stack.patches:
        added, removed = added_and_removed(patch)
        subject, why = _prose(patch.message.subject), _prose(purpose(patch))
        status = escape(upstream_status(patch))
        cells = (
            f'<a href="#{anchor(patch)}">{patch.number:04}</a>',
            f'{subject}<br><span class="dim">{why}</span>',
            escape(patch.message.trailer("Subsystem") or ""),
            f'<abbr title="{status}">{upstream_mark(patch)}</abbr>',
            f'<span class="count">+{added} -{removed}</span>',
        )
        yield "<tr>" + "".join(map(_cell, heads, cells)) + "</tr>"
    yield "</tbody></table></section>"


def _rebases(report: Report) -> Iterator[str]:
    if not report.rebases:
        return
    releases = list(report.rebases)
    yield _head("rebase") + _table(["Patch", *releases])
    statuses = {
        release: {outcome.patch: outcome for outcome in outcomes}
        for release, outcomes in report.rebases.items()
    }
    for patch in report.stack.patches:
        number = f'<a href="#{anchor(patch)}">{patch.number:04}</a>'
        cells = "".join(
            _cell(release, _rebase_outcome(statuses[release].get(patch.name)))
            for release in releases
        )
        yield f"<tr>{_cell('Patch', number)}{cells}</tr>"
    yield "</tbody></table></section>"


def _rebase_outcome(outcome: PatchReport | None) -> str:
    if outcome is None:
        return ""
    where = ", ".join(f"{item.path}:{item.line}" for item in outcome.conflicts)
    note = f'<br><span class="dim hash">{escape(where)}</span>' if where else ""
    return f'<span class="{outcome.status}">{outcome.status}</span>{note}'


def _lock(report: Report) -> Iterator[str]:
    if report.lock is None:
        return
    yield _head("lock") + _table(["File", "sha256 before", "sha256 after"])
    for file in report.lock.files:
        yield f"<tr>{_cell('File', f'<code>{escape(file.path)}</code>')}{_hashes(file)}</tr>"
    yield "</tbody></table></section>"


def _hashes(file: LockedFile) -> str:
    cells = []
    for head, digest in (("sha256 before", file.before), ("sha256 after", file.after)):
        shown = f"{digest[:SHORT]}…" if digest else "absent"
        cells.append(_cell(head, shown, f' class="hash" title="{digest or ""}"'))
    return "".join(cells)


def _patch(patch: Patch) -> Iterator[str]:
    message = patch.message
    yield f'<article id="{anchor(patch)}"><h3>{patch.number:04} {_prose(message.subject)}</h3>'
    yield f'<p class="dim">{escape(message.author)}, {escape(message.date)}</p>'
    yield f'<p class="body">{_prose(_flowing(message.body.strip()))}</p>'
    trailers = "<br>".join(escape(f"{name}: {value}") for name, value in message.trailers)
    yield f'<p class="dim">{trailers}</p>'
    for diff in patch.files:
        yield from _diff(patch, diff)
    yield "</article>"


def _diff(patch: Patch, diff: FileDiff) -> Iterator[str]:
    added, removed = added_and_removed(patch, diff.path)
    state = "new, " if diff.old_path is None else "deleted, " if diff.new_path is None else ""
    is_open = " open" if len(touched(patch)) and added + removed <= 400 else ""
    yield f"<details{is_open}><summary><code>{escape(diff.path)}</code> "
    yield f'<span class="dim">{state}+{added} -{removed}</span></summary><pre>'
    lines: list[str] = []
    for hunk in diff.hunks:
        section = hunk.section.decode("utf-8", "replace").strip()
        at = f"@@ -{hunk.old_start},{hunk.old_count} +{hunk.new_start},{hunk.new_count} @@"
        lines.append(f'<span class="at">{at} {escape(section)}</span>')
        for op, spans in mark_hunk(hunk):
            text = "".join(
                f"<b>{escape(words)}</b>" if changed else escape(words) for changed, words in spans
            )
            lines.append(f'<span class="{CLASSES[op]}">{op}{text}</span>')
    yield "".join(lines) + "</pre></details>"
