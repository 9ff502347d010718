"""The report as Markdown, for a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_patchkit.report.model import Report, added_and_removed, purpose, upstream_status


def format_markdown(report: Report) -> str:
    """Return series, overlaps, rebase forecast and lock as GitHub-flavoured Markdown."""
    stack = report.stack
    lines = [
        f"## {stack.name} {report.label} on {stack.base.distribution} {stack.base.version}",
        "",
        stack.summary,
        "",
        *[f"- verified: {line}" for line in report.verification],
        f"- stack digest: `{report.lock.digest if report.lock else 'not locked'}`",
        "",
        *_series(report),
        *_overlaps(report),
        *_rebases(report),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _series(report: Report) -> Iterator[str]:
    yield "| patch | subject | purpose | subsystem | upstream | lines |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for patch in report.stack.patches:
        added, removed = added_and_removed(patch)
        cells = [
            f"{patch.number:04}",
            patch.message.subject,
            purpose(patch),
            patch.message.trailer("Subsystem") or "",
            upstream_status(patch),
            f"+{added} -{removed}",
        ]
        yield "| " + " | ".join(escape_cell(cell) for cell in cells) + " |"
    yield ""


def _overlaps(report: Report) -> Iterator[str]:
    met = [overlap for overlap in report.overlaps if overlap.relation != "same file"]
    if not met:
        return
    yield "| patches | relation | file | order |"
    yield "| --- | --- | --- | --- |"
    for item in met:
        order = "free" if item.commutes else "fixed"
        yield (
            f"| {item.first[:4]}, {item.second[:4]} | {item.relation} | "
            f"`{escape_cell(item.path)}` | {order} |"
        )
    yield ""


def _rebases(report: Report) -> Iterator[str]:
    if not report.rebases:
        return
    yield "| patch | " + " | ".join(report.rebases) + " |"
    yield "| --- |" + " --- |" * len(report.rebases)
    statuses = [{item.patch: item.status for item in items} for items in report.rebases.values()]
    for patch in report.stack.patches:
        cells = " | ".join(status.get(patch.name, "") for status in statuses)
        yield f"| {patch.number:04} | {cells} |"
    yield ""


def escape_cell(text: str) -> str:
    """Return text that stays in its table cell and is not read as markup.

    >>> escape_cell("a | b <c>")
    'a \\\\| b &lt;c>'
    """
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
