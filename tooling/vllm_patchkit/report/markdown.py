"""The report as Markdown, for a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_patchkit.fork.rebase.upstream import markdown_table
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
    rows = []
    for patch in report.stack.patches:
        added, removed = added_and_removed(patch)
        cells = (
            f"{patch.number:04}",
            patch.message.subject,
            purpose(patch),
            patch.message.trailer("Subsystem") or "",
            upstream_status(patch),
            f"+{added} -{removed}",
        )
        rows.append(list(map(escape_cell, cells)))
    heads = ("patch", "subject", "purpose", "subsystem", "upstream", "lines")
    yield from (*markdown_table(heads, rows), "")


def _overlaps(report: Report) -> Iterator[str]:
    met = [overlap for overlap in report.overlaps if overlap.relation != "same file"]
    if not met:
        return
    rows = (
        (f"{item.first[:4]}, {item.second[:4]}", item.relation, f"`{escape_cell(item.path)}`",
         "free" if item.commutes else "fixed")
        for item in met
    )  # fmt: skip
    yield from (*markdown_table(("patches", "relation", "file", "order"), rows), "")


def _rebases(report: Report) -> Iterator[str]:
    if not report.rebases:
        return
    statuses = [{item.patch: item.status for item in items} for items in report.rebases.values()]
    rows = (
        (f"{patch.number:04}", *(status.get(patch.name, "") for status in statuses))
        for patch in report.stack.patches
    )
    yield from (*markdown_table(("patch", *report.rebases), rows), "")


def escape_cell(text: str) -> str:
    """Return text that stays in its table cell and is not read as markup.

    >>> escape_cell("a | b <c>")
    'a \\\\| b &lt;c>'
    """
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
