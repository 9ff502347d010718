"""The report as one HTML page that needs nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.report.model import (
    Report,
    added_and_removed,
    anchor,
    purpose,
    touched,
    upstream_status,
)
from vllm_patchkit.report.picture import draw
from vllm_patchkit.report.words import mark_hunk
from vllm_patchkit.stack.model import LockedFile, Patch

CLASSES = {" ": "same", "+": "add", "-": "del"}
SHORT = 12


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
        *_series(report),
        '<section><h2>Files and overlaps</h2><div class="wide">',
        draw(report),
        '</div><p class="dim">A dot is a change, its colour the subsystem. A solid arc joins two '
        "patches whose order is fixed, a dashed one two that change lines near each other.</p>"
        "</section>",
        *_rebases(report),
        *_lock(report),
        "<section><h2>Patches</h2>",
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
    yield '<section><div class="wide"><table>'
    for name, value in rows:
        yield f'<tr><th>{escape(name)}</th><td class="hash">{escape(value)}</td></tr>'
    yield "</table></div></section>"


def _series(report: Report) -> Iterator[str]:
    yield '<section><h2>Series</h2><div class="wide"><table><thead><tr><th>Patch</th>'
    yield "<th>Purpose</th><th>Subsystem</th><th>Upstream</th><th>Lines</th></tr></thead><tbody>"
    for patch in report.stack.patches:
        added, removed = added_and_removed(patch)
        yield (
            f'<tr><td><a href="#{anchor(patch)}">{patch.number:04}</a></td>'
            f"<td>{escape(patch.message.subject)}<br>"
            f'<span class="dim">{escape(purpose(patch))}</span></td>'
            f"<td>{escape(patch.message.trailer('Subsystem') or '')}</td>"
            f"<td>{escape(upstream_status(patch))}</td><td>+{added} -{removed}</td></tr>"
        )
    yield "</tbody></table></div></section>"


def _rebases(report: Report) -> Iterator[str]:
    if not report.rebases:
        return
    releases = list(report.rebases)
    heads = "".join(f"<th>{escape(release)}</th>" for release in releases)
    yield '<section><h2>Rebase</h2><div class="wide"><table><thead><tr><th>Patch</th>'
    yield f"{heads}</tr></thead><tbody>"
    statuses = {
        release: {outcome.name: outcome for outcome in outcomes}
        for release, outcomes in report.rebases.items()
    }
    for patch in report.stack.patches:
        cells = "".join(_rebase_cell(statuses[release].get(patch.name)) for release in releases)
        yield f'<tr><td><a href="#{anchor(patch)}">{patch.number:04}</a></td>{cells}</tr>'
    yield "</tbody></table></div></section>"


def _rebase_cell(outcome: object) -> str:
    from vllm_patchkit.fork.rebase.outcome import PatchReport

    if not isinstance(outcome, PatchReport):
        return "<td></td>"
    where = ", ".join(f"{item.path}:{item.line}" for item in outcome.conflicts)
    note = f'<br><span class="dim hash">{escape(where)}</span>' if where else ""
    return f'<td><span class="{outcome.status}">{outcome.status}</span>{note}</td>'


def _lock(report: Report) -> Iterator[str]:
    if report.lock is None:
        return
    yield '<section><h2>Lock</h2><div class="wide"><table><thead><tr><th>File</th>'
    yield "<th>sha256 before</th><th>sha256 after</th></tr></thead><tbody>"
    for file in report.lock.files:
        yield f"<tr><td><code>{escape(file.path)}</code></td>{_hashes(file)}</tr>"
    yield "</tbody></table></div></section>"


def _hashes(file: LockedFile) -> str:
    cells = []
    for digest in (file.before, file.after):
        shown = f"{digest[:SHORT]}…" if digest else "absent"
        cells.append(f'<td class="hash" title="{digest or ""}">{shown}</td>')
    return "".join(cells)


def _patch(patch: Patch) -> Iterator[str]:
    message = patch.message
    yield f'<article id="{anchor(patch)}"><h3>{patch.number:04} {escape(message.subject)}</h3>'
    yield f'<p class="dim">{escape(message.author)}, {escape(message.date)}</p>'
    yield f'<p class="body">{escape(message.body.strip())}</p>'
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
