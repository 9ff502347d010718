"""A picture of which patches touch which files, and which of them meet. Pure: SVG as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from vllm_patchkit.fork.overlap import Overlap
from vllm_patchkit.report.model import Report, added_and_removed, anchor, touched
from vllm_patchkit.stack.model import Patch

ROW = 26
COLUMN = 20
CHARACTER = 7.4
SLOPE = 0.72  # of a name at 45 degrees: its width and height by its length
ARC_SPACE = 90
MEETING = {"same lines", "needs", "near"}


def draw(report: Report) -> str:
    """Return the picture: a row a patch, a column a file, a dot a change, an arc an overlap.

    The area of a dot grows with the lines changed; its colour is the patch's subsystem.
    """
    patches, paths = report.stack.patches, report.paths
    names = _short_names(paths)
    reach = [int(len(name) * CHARACTER * SLOPE) + 12 for name in names]
    top = max(reach, default=0) + 18
    left = int(max(len(_label(patch)) for patch in patches) * CHARACTER) + 12
    ends = (COLUMN * index + COLUMN // 2 + one for index, one in enumerate(reach))
    width = left + max(COLUMN * len(paths) + ARC_SPACE, *ends)
    height = top + ROW * len(patches) + 12
    systems = report.stack.subsystems
    hues = {name: 360 * index // len(systems) for index, name in enumerate(systems)}
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'aria-labelledby="picture-title" xmlns="http://www.w3.org/2000/svg">',
        '<title id="picture-title">Which patches touch which files</title>',
        *_file_names(names, left, top),
        *_rows(patches, paths, left, top, hues),
        *_arcs(patches, report.overlaps, left + COLUMN * len(paths), top),
        "</svg>",
    ]
    return "\n".join(parts)


def _short_names(paths: Sequence[str]) -> list[str]:
    """Return the file names, with parent folders until they tell the files apart."""
    depth = dict.fromkeys(paths, 1)
    for _ in range(8):
        short = {path: "/".join(path.split("/")[-depth[path] :]) for path in paths}
        twins = [path for path in paths if list(short.values()).count(short[path]) > 1]
        twins += [path for path in paths if short[path] == "__init__.py" and path not in twins]
        if not twins:
            break
        for path in twins:
            depth[path] += 1
    return [short[path] for path in paths] if paths else []


def _label(patch: Patch) -> str:
    return f"{patch.number:04} {patch.message.trailer('Subsystem') or ''}"


def _file_names(names: Sequence[str], left: int, top: int) -> Iterator[str]:
    for index, name in enumerate(names):
        x = left + COLUMN * index + COLUMN // 2
        yield (
            f'<text class="file" transform="translate({x} {top - 10}) rotate(-45)">'
            f"{escape(name)}</text>"
        )


def _rows(
    patches: Sequence[Patch], paths: Sequence[str], left: int, top: int, hues: dict[str, int]
) -> Iterator[str]:
    right = left + COLUMN * len(paths)
    for index, patch in enumerate(patches):
        y = top + ROW * index + ROW // 2
        hue = hues.get(patch.message.trailer("Subsystem") or "", 0)
        yield f'<line class="rule" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield (
            f'<a href="#{anchor(patch)}"><text class="patch" x="{left - 10}" y="{y + 4}">'
            f"{escape(_label(patch))}</text></a>"
        )
        for path in touched(patch):
            added, removed = added_and_removed(patch, path)
            radius = min(10.0, 2.5 + 0.45 * (added + removed) ** 0.5)
            x = left + COLUMN * paths.index(path) + COLUMN // 2
            yield (
                f'<circle cx="{x}" cy="{y}" r="{radius:.1f}" style="--hue: {hue}">'
                f"<title>{patch.number:04} {escape(path)}: +{added} -{removed}</title></circle>"
            )


def _arcs(patches: Sequence[Patch], overlaps: Sequence[Overlap], x: int, top: int) -> Iterator[str]:
    rows = {patch.name: index for index, patch in enumerate(patches)}
    for overlap in overlaps:
        if overlap.relation not in MEETING or not {overlap.first, overlap.second} <= rows.keys():
            continue
        y1, y2 = (top + ROW * rows[name] + ROW // 2 for name in (overlap.first, overlap.second))
        bend = x + 12 + min(ARC_SPACE - 20, 6 * abs(y2 - y1) // ROW)
        kind = "fixed" if not overlap.commutes else "loose"
        yield (
            f'<path class="arc {kind}" d="M{x} {y1} C{bend} {y1} {bend} {y2} {x} {y2}">'
            f"<title>{overlap.first[:4]} and {overlap.second[:4]}: {overlap.relation} in "
            f"{escape(overlap.path)}</title></path>"
        )
