"""A line a layer, from the whole layer to the harshest level, with the original drawn across."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tersenet.report.sensitivity import draw
from tersenet.search import Point, Sensitivity

SVG = "{http://www.w3.org/2000/svg}"


def record(measure: str = "accuracy", original: float = 0.9) -> Sensitivity:
    def point(method, layers, level, quality):
        lost = 100 * (original - quality)
        return Point(
            method=method, layers=layers, level=level, quality=quality, lost_points=lost, bytes_saved=1, seconds=0
        )

    return Sensitivity(
        fingerprint="",
        source="net on data",
        measure=measure,
        original=original,
        examples=1,
        coder="raw",
        batchnorm=False,
        missing=0,
        points=(
            point("prune", ("a<b",), 0.1, original - 0.2),
            point("prune", ("a<b",), 1.0, original),
            point("prune", ("c",), 0.5, original - 0.1),
            point("bits", ("c",), 2, original - 0.3),
            point("channels", ("c", "d", "e"), 0.5, original),
        ),
    )


def dots(text: str) -> list[str]:
    return [title.text for title in ET.fromstring(text).iter(f"{SVG}title") if title.text and ": " in title.text]


def test_shares_start_at_the_whole_layer_and_are_percent():
    assert [one for one in dots(draw(record(), "prune")) if re.match(r"(a<b|c): \d", one)] == [
        "a<b: 100, 90",
        "a<b: 10, 70",
        "c: 100, 90",
        "c: 50, 80",
    ]


def test_bits_are_as_they_are():
    assert "c: 2, 60" in dots(draw(record(), "bits"))


@pytest.mark.parametrize(("measure", "original", "dot"), [("loss", -0.5, "c: 50, 0.6"), ("metric", 0.5, "c: 50, 0.4")])
def test_a_loss_rises_and_a_metric_is_itself(measure, original, dot):
    text = draw(record(measure, original), "prune")
    assert dot in dots(text)
    assert measure in [one.text for one in ET.fromstring(text).iter(f"{SVG}text")]


def test_a_group_says_how_many_go_with_its_first_layer():
    texts = [one.text for one in ET.fromstring(draw(record(), "channels")).iter(f"{SVG}text")]
    assert "c and 2 more" in texts and "original" in texts
    assert "net on data: each layer alone losing channels" in texts
