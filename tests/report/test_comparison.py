"""A comparison drawn and tabled: every line with its points, cut off below, and the unbeaten marked."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tersenet.errors import TersenetError
from tersenet.report.comparison import draw, table
from tersenet.search import ComparedPoint, Comparison

SVG = "{http://www.w3.org/2000/svg}"


def _found(top5: float | None = None) -> Comparison:
    rows = [("codebook", 8, 100, 0.98), ("codebook", 2, 40, 0.5), ("prune", 1, 60, 0.97), ("low_rank", 3, 70, 0.2)]
    points = tuple(
        ComparedPoint(
            line=line, amount=f"bits {amount}", steps=({"n": amount},), file_bytes=size, rate=400 / size,
            quality=quality, lost_points=100 * (0.99 - quality), top5=None if top5 is None else quality + 0.01,
        )
        for line, amount, size, quality in rows
    )  # fmt: skip
    none = ComparedPoint(line="tucker2", amount="energy 0.5", steps=({"n": 9},), refused="no convolution")
    return Comparison(
        fingerprint="", source="net on data", measure="accuracy", original=0.99, original_top5=top5, original_bytes=400,
        examples=100, coder="raw", missing=0, points=(*points, none),
    )  # fmt: skip


def test_each_line_has_a_mark_for_each_point_and_a_colour_it_keeps():
    root = ET.fromstring(draw(_found()))
    marks = root.findall(f".//{SVG}circle")
    assert sorted(mark.find(f"{SVG}title").text.split(":")[0] for mark in marks) == [
        "codebook",
        "codebook",
        "low_rank",
        "prune",
    ]
    assert "tucker2" not in ET.tostring(root, encoding="unicode")
    colour = {mark.find(f"{SVG}title").text.split(":")[0]: mark.get("fill") for mark in marks}
    only = _found()
    alone = Comparison(**only.__dict__ | {"points": only.points[2:3]})
    assert ET.fromstring(draw(alone)).find(f".//{SVG}circle").get("fill") == colour["prune"]


def test_what_lies_further_below_the_original_is_at_the_edge():
    def heights(within):
        root = ET.fromstring(draw(_found(), within=within))
        return sorted(float(mark.get("cy")) for mark in root.findall(f".//{SVG}circle"))

    assert heights(5.0)[-1] == heights(5.0)[-2] > heights(5.0)[1]
    assert heights(100.0)[-1] > heights(100.0)[-2]


def test_the_table_has_a_row_a_point_and_marks_what_nothing_beats():
    headers, rows = table(_found())
    assert headers[-1] == "points lost" and len(rows) == 4
    assert {row[0] for row in rows if "*" in row[0]} == {"codebook *", "prune *"}
    headers, rows = table(_found(top5=0.995))
    assert headers[-1] == "top-5" and rows[0][-1] == "99.00"


def test_top_5_is_drawn_where_it_is_known():
    assert "top-5 accuracy" in draw(_found(top5=0.995), top5=True)
    with pytest.raises(TersenetError, match="no top-5 accuracy to draw"):
        draw(_found(), top5=True)
