"""The pictures of a run on one sheet. Pure: SVG as text, the PNGs inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

HEIGHT = 150
GAP = 16
CAPTION = 22
WIDTH = 940
STYLE = (
    "<style>.paper { fill: #fff } text { fill: #101828; font: 12px system-ui, sans-serif } "
    "image { image-rendering: pixelated } @media (prefers-color-scheme: dark) "
    "{ .paper { fill: #14171d } text { fill: #f2f4f7 } }</style>"
)


def draw_sheet(pictures: Iterable[Mapping[str, Any]]) -> str:
    """Return every picture at one height, captioned with its name and size in tokens.

    :param pictures: ``name``, ``height`` and ``width`` in tokens, and ``png`` in base64.
    """
    placed = list(_place(pictures))
    bottom = max((y for _, _, y, _ in placed), default=GAP - HEIGHT - CAPTION)
    height = bottom + HEIGHT + CAPTION + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="The pictures of a run">{STYLE}'
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        *(_picture(*one) for one in placed),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _place(
    pictures: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], int, int, int]]:
    """Yield each picture with its left, top and width, in rows from left to right."""
    x, y = GAP, GAP
    for picture in pictures:
        width = max(1, round(HEIGHT * picture["width"] / picture["height"]))
        if x > GAP and x + width + GAP > WIDTH:
            x, y = GAP, y + HEIGHT + CAPTION + GAP
        yield picture, x, y, min(width, WIDTH - 2 * GAP)
        x += max(width, len(_caption(picture)) * 7) + GAP


def _picture(picture: Mapping[str, Any], x: int, y: int, width: int) -> str:
    return (
        f'<image x="{x}" y="{y}" width="{width}" height="{HEIGHT}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{escape(picture["png"])}"/>'
        f'<text x="{x}" y="{y + HEIGHT + 16}">{escape(_caption(picture))}</text>'
    )


def _caption(picture: Mapping[str, Any]) -> str:
    return f"{picture['name']}, {picture['height']} x {picture['width']}"
