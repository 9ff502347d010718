"""All pictures of a run on one sheet: each inside it, none over another."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

from vllm_patchkit.smoke.sheet import draw_sheet

SVG = "{http://www.w3.org/2000/svg}"


def boxes(text: str) -> list[tuple[float, float, float, float]]:
    root = ElementTree.fromstring(text)
    images = root.findall(f"{SVG}image")
    return [tuple(float(one.attrib[key]) for key in ("x", "y", "width", "height"))
            for one in images]  # fmt: skip


def test_pictures_lie_beside_each_other_within_the_sheet() -> None:
    sizes = [(4, 6), (5, 3), (1, 400), (400, 1), *((2, 3),) * 20]
    pictures = [
        {"name": f"<{n}>", "height": h, "width": w, "png": "eA=="} for n, (h, w) in enumerate(sizes)
    ]
    text = draw_sheet(pictures)
    _, _, right, bottom = map(float, ElementTree.fromstring(text).attrib["viewBox"].split())
    placed = boxes(text)
    assert len(placed) == len(sizes)
    for x, y, width, height in placed:
        assert 0 <= x <= x + width <= right
        assert 0 <= y <= y + height <= bottom
    for (x, y, width, height), (x2, y2, width2, height2) in itertools.combinations(placed, 2):
        apart = x + width <= x2 or x2 + width2 <= x or y + height <= y2 or y2 + height2 <= y
        assert apart
    assert "&lt;0&gt;, 4 x 6" in text


def test_a_run_without_pictures_has_an_empty_sheet() -> None:
    assert boxes(draw_sheet([])) == []
