"""The plots of docs/performance: titled, explained, with room, and no line that two points make.

How a browser shows them, and the drawings beside them: tests/integration/test_pictures.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
PLOTS = sorted((Path(__file__).parents[2] / "docs" / "performance").glob("*.svg"))

every_plot = pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)


def groups(parent: Element, kind: str) -> list[Element]:
    """The groups right below this one that matplotlib names after a kind."""
    found = (group for group in parent.findall(f"{SVG}g"))
    return [group for group in found if re.fullmatch(rf"{kind}_\d+", group.attrib["id"])]


def figure(plot: Path) -> Element:
    (found,) = groups(ElementTree.parse(plot).getroot(), "figure")
    return found


def words(group: Element) -> str:
    return "".join("".join(text.itertext()) for text in group.iter(f"{SVG}text")).strip()


def points(path: Element) -> list[tuple[float, float]]:
    numbers = re.findall(r"[ML] (\S+) (\S+)", path.attrib["d"])
    return [(float(x), float(y)) for x, y in numbers]


def box(group: Element) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a group's one path."""
    (path,) = group.findall(f"{SVG}path")
    columns, lines = zip(*points(path), strict=True)
    return min(columns), min(lines), max(columns), max(lines)


def marks(curve: Element) -> list[tuple[float, float]]:
    return [(float(use.attrib["x"]), float(use.attrib["y"])) for use in curve.iter(f"{SVG}use")]


def test_there_are_plots_and_curves() -> None:
    """Else every other test here would hold of nothing."""
    curves = [
        c for plot in PLOTS for a in groups(figure(plot), "axes") for c in groups(a, "line2d")
    ]
    assert len(PLOTS) > 4
    assert sum(bool(marks(curve)) for curve in curves) > 20


@every_plot
def test_it_has_a_title_and_each_half_one_of_its_own(plot: Path) -> None:
    top = figure(plot)
    assert [words(text) for text in groups(top, "text")] != [""]
    for axes in groups(top, "axes"):
        assert len([words(text) for text in groups(axes, "text") if words(text)]) == 1
        along = next(group for group in axes if group.attrib["id"].startswith("matplotlib.axis"))
        assert [words(text) for text in groups(along, "text")] != []


@every_plot
def test_each_half_names_every_curve(plot: Path) -> None:
    for axes in groups(figure(plot), "axes"):
        (legend,) = groups(axes, "legend")
        named = [words(text) for text in groups(legend, "text")]
        assert len(set(named)) == len(named) == len(groups(axes, "line2d"))
        assert all(named)


@every_plot
def test_two_measurements_are_no_line(plot: Path) -> None:
    """What has no marks is arithmetic, and may be a straight line."""
    for axes in groups(figure(plot), "axes"):
        for curve in groups(axes, "line2d"):
            paths = curve.findall(f"{SVG}path")
            if marks(curve) and paths:
                assert len(points(paths[0])) == len(marks(curve)) > 2


@every_plot
def test_no_measurement_lies_on_the_frame_or_under_the_legend(plot: Path) -> None:
    for axes in groups(figure(plot), "axes"):
        left, top, right, bottom = box(groups(axes, "patch")[0])
        (legend,) = groups(axes, "legend")
        x0, y0, x1, y1 = box(groups(legend, "patch")[0])
        wide, high = (right - left) / 50, (bottom - top) / 50
        for curve in groups(axes, "line2d"):
            for x, y in marks(curve):
                assert left + wide < x < right - wide
                assert top + high < y < bottom
                assert not (x0 < x < x1 and y0 < y < y1)
