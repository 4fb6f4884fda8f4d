"""Size against accuracy for all points that a search for a target tried, and records others have published."""

from __future__ import annotations

import base64

from tersenet.report.figure import Line, figure
from tersenet.report.record import Record, number, rows, size, table
from tersenet.report.text import escape

# Network of the zoo: whose: (bytes of a real file, test accuracy in percent). Sizes that are formulas are left out.
RECORDS: dict[str, dict[str, tuple[tuple[int, float], ...]]] = {
    "lenet5": {
        "Han et al. 2016": ((44_000, 99.26),),
        "Oktay et al. 2020": ((2_840, 99.0),),
        "Havasi et al. 2019": ((1_520, 99.04), (3_030, 99.31)),
    },
    "lenet_300_100": {"Han et al. 2016": ((27_000, 98.42),), "Oktay et al. 2020": ((8_560, 98.1),)},
}


def draw(record: Record) -> str:
    """A figure and its numbers; nothing where nothing was searched."""
    points = [point for point in rows(record.final.get("points")) if size(point.get("file_bytes"))]
    return f"{_figure(record, points)}{_table(points)}" if points else ""


def _figure(record: Record, points: list[dict[str, object]]) -> str:
    measured = [(point, _accuracy(point)) for point in points]
    line = [(float(size(point["file_bytes"]) or 0), value) for point, value in measured if value is not None]
    if not line:
        return ""
    lines = [Line("tried here", line)]
    lines += [Line(name, published, dashed=True) for name, published in RECORDS.get(record.source, {}).items()]
    before = number(table(record.original_scores.get("test")).get("accuracy"))
    reference = None if before is None else (100 * before, "original")
    svg = figure(
        lines,
        title="Size against accuracy",
        x="bytes of the file",
        y="test accuracy, %",
        log_x=True,
        reference=reference,
    )
    # A picture of its own: its style does not reach the page.
    data = base64.b64encode(svg.encode()).decode()
    return f'<img class="points" alt="Size against accuracy; the table has the numbers" src="data:image/svg+xml;base64,{data}">'


def _accuracy(point: dict[str, object]) -> float | None:
    share = number(table(point.get("test")).get("accuracy"))
    return None if share is None else 100 * share


def _table(points: list[dict[str, object]]) -> str:
    columns = ("Quality", "Bytes", "Validation points lost", "Test accuracy, %", "")
    head = "".join(f'<th scope="col" class="n">{name}</th>' for name in columns)
    body = []
    for point in points:
        quality, lost, tested = number(point.get("quality")), number(point.get("drop_points")), _accuracy(point)
        cells = (
            "" if quality is None else f"{quality:g}",
            f"{size(point['file_bytes']):,}",
            "" if lost is None else f"{lost:.2f}",
            "" if tested is None else f"{tested:.2f}",
            "chosen" if point.get("chosen") is True else "",
        )
        body.append("<tr>" + "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
