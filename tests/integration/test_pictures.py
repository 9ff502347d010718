"""Every picture of the pages in a real browser, light and dark: what it says can be read."""

from __future__ import annotations

import json
import re
from html import escape, unescape
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from support.browser import browse, needs_chromium

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = [*sorted(DOCS.glob("*.svg")), *sorted((DOCS / "performance").glob("*.svg"))]
# Each picture is a frame of its own, because a style concerns a whole document.
MEASURE = """<script>
const box = one => {
  const at = one.getBoundingClientRect();
  return [at.left, at.top, at.right, at.bottom];
};
const style = (one, key) => getComputedStyle(one)[key];
const svg = document.querySelector("svg");
const drawn = [...svg.querySelectorAll("rect, path, text")].filter(one => !one.closest("defs"));
const found = {
  box: box(svg),
  shapes: drawn.map(one => ({
    text: one.tagName === "text" ? one.textContent : "", box: box(one),
    fill: style(one, "fill"),
    curve: one.parentNode.id.startsWith("line2d") && one.parentNode.parentNode.id.startsWith("axes")
      ? style(one, "stroke") : "none",
  })),
};
const kept = parent.document.createElement("pre");
kept.textContent = JSON.stringify([NUMBER, found]);
parent.document.body.append(kept);
</script>"""

pytestmark = needs_chromium


@pytest.fixture(scope="module", params=["dark", "light"])
def seen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What the browser makes of each picture where the reader prefers dark, or light, pages."""
    folder = tmp_path_factory.mktemp("pictures")
    frames = []
    for number, path in enumerate(PICTURES):
        text = path.read_text(encoding="utf-8")
        inside = text[text.index("<svg") :] + MEASURE.replace("NUMBER", str(number))
        style = 'width="1000" height="600" style="border: 0"'
        frames.append(f'<iframe {style} srcdoc="{escape(inside)}"></iframe>')
    page = folder / "page.html"
    page.write_text("<!doctype html><body>" + "".join(frames), encoding="utf-8")
    mode = f"--blink-settings=preferredColorScheme={['dark', 'light'].index(request.param)}"
    dom = browse(folder, mode, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()).decode()
    found = [json.loads(unescape(text)) for text in re.findall(r"<pre>(.*?)</pre>", dom, re.DOTALL)]
    return {PICTURES[number].name: picture for number, picture in found}


def light(colour: str) -> float:
    """Relative luminance. Source: WCAG 2.2, "relative luminance"."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, "contrast ratio"."""
    darker, lighter = sorted((light(one), light(other)))
    return (lighter + 0.05) / (darker + 0.05)


def covers(outer: list[float], inner: list[float], slack: float = 1) -> bool:
    (x0, y0, x1, y1), (a0, b0, a1, b1) = outer, inner
    return x0 <= a0 + slack and y0 <= b0 + slack and a1 <= x1 + slack and b1 <= y1 + slack


def behind(picture: dict[str, Any], number: int) -> dict[str, Any]:
    """The last filled shape, drawn before this one, that its middle lies on."""
    shapes = picture["shapes"]
    x0, y0, x1, y1 = shapes[number]["box"]
    middle = [(x0 + x1) / 2, (y0 + y1) / 2] * 2
    below = (s for s in reversed(shapes[:number]) if not s["text"] and s["fill"] != "none")
    found: dict[str, Any] = next(shape for shape in below if covers(shape["box"], middle))
    return found


def test_every_picture_was_seen(seen: dict[str, dict[str, Any]]) -> None:
    assert len(PICTURES) > 8
    assert sorted(seen) == sorted(path.name for path in PICTURES)


def test_each_has_a_paper_of_its_own(
    seen: dict[str, dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    """As dark or as light as the page around it, over the whole picture."""
    dark = request.node.callspec.params["seen"] == "dark"
    for name, picture in seen.items():
        paper = picture["shapes"][0]
        assert covers(paper["box"], picture["box"]), name
        assert light(paper["fill"]) < 0.02 if dark else light(paper["fill"]) > 0.98, name


def test_words_and_curves_stand_out(seen: dict[str, dict[str, Any]]) -> None:
    """By what WCAG asks for: 4.5 for text, 3 for graphics."""
    for name, picture in seen.items():
        paper = picture["shapes"][0]["fill"]
        for number, shape in enumerate(picture["shapes"]):
            if shape["text"].strip():
                under = behind(picture, number)["fill"]
                assert contrast(shape["fill"], under) >= 4.5, (name, shape["text"])
            if shape["curve"] != "none":
                assert contrast(shape["curve"], paper) >= 3, (name, shape["curve"])


def test_words_keep_to_their_place(seen: dict[str, dict[str, Any]]) -> None:
    """Inside the box on which they stand, and not over each other."""
    for name, picture in seen.items():
        texts = [(n, s) for n, s in enumerate(picture["shapes"]) if s["text"].strip()]
        for number, shape in texts:
            assert covers(behind(picture, number)["box"], shape["box"], 4), (name, shape["text"])
        for (_, one), (_, other) in combinations(texts, 2):
            (a0, b0, a1, b1), (c0, d0, c1, d1) = one["box"], other["box"]
            over = min(a1, c1) - max(a0, c0) > 3 and min(b1, d1) - max(b0, d0) > 3
            assert not over, (name, one["text"], other["text"])
