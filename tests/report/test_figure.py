"""A figure of lines: all that is drawn is inside, and what cannot be drawn is refused."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tersenet.errors import TersenetError
from tersenet.report.figure import BOTTOM, LEFT, PALETTE, RIGHT, TOP, Line, figure

SVG = "{http://www.w3.org/2000/svg}"
AXES = {"title": "t", "x": "kept, %", "y": "accuracy, %"}


def dots(text: str) -> list[tuple[float, float]]:
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in ET.fromstring(text).iter(f"{SVG}circle")]


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("falling_x", [False, True])
@pytest.mark.parametrize("points", [[(1, 2)], [(1, 0.5), (100, 99)], [(0.01, 3), (0.02, 3)], [(5, 1), (5, 2)]])
def test_every_point_is_inside_the_axes_and_in_order(points, falling_x, log_x) -> None:
    found = dots(figure([Line("a", points)], log_x=log_x, falling_x=falling_x, **AXES))
    assert len(found) == len(points)
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in found)
    if points[0][0] < points[-1][0]:
        assert (found[0][0] < found[-1][0]) != falling_x
    if points[0][1] < points[-1][1]:
        assert found[0][1] > found[-1][1], "larger is higher"


def test_names_are_escaped_and_all_lines_are_in_the_key() -> None:
    names = [f"<layer{number}>" for number in range(len(PALETTE) + 5)]
    root = ET.fromstring(figure([Line(name, [(0, 1), (1, 2)]) for name in names], **AXES))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert set(names) <= set(texts)
    colours = [path.get("stroke") for path in root.iter(f"{SVG}path")]
    assert len(set(colours)) == len(names)


def test_points_beyond_the_range_stop_at_its_edge() -> None:
    found = dots(figure([Line("a", [(0, 10), (1, 97)])], y_range=(90, 100), **AXES))
    assert found[0][1] == BOTTOM and TOP < found[1][1] < BOTTOM


def test_a_reference_is_drawn_across_with_its_name() -> None:
    text = figure([Line("a", [(0, 1), (1, 2)])], reference=(1.5, "original"), **AXES)
    assert ">original</text>" in text and len(re.findall('line class="reference"', text)) == 1


@pytest.mark.parametrize(
    ("lines", "log_x", "said"),
    [([], False, "no points"), ([Line("a", [(0, float("nan"))])], False, "NaN"), ([Line("a", [(0, 1)])], True, "0 or")],
)
def test_what_cannot_be_drawn_is_refused(lines, log_x, said) -> None:
    with pytest.raises(TersenetError, match=said):
        figure(lines, log_x=log_x, **AXES)
