"""Ways to compress a network, as a figure and a table: accuracy against compression rate.

After Gong et al. 2014, arXiv:1412.6115, figures 1 to 3, and Han et al. 2016, arXiv:1510.00149, figure 6.
"""

from __future__ import annotations

from tersenet.errors import TersenetError
from tersenet.report.figure import Line, figure
from tersenet.search import ComparedPoint, Comparison
from tersenet.search.lines import known_lines

# Points of accuracy below the original that a picture shows unless told otherwise.
WITHIN = 10.0
# What pruning and factorising do is dashed; so are lines beyond the palette.
DASHED = ("prune", "prune + codebook", "low_rank", "tucker2")


def draw(found: Comparison, *, within: float = WITHIN, top5: bool = False) -> str:
    """The text of an .svg file: a line for each way, on how many times smaller the file is than float32 parameters.

    within   points of quality below the original that the picture reaches down to
    top5     share of answers among the five largest outputs, in place of accuracy
    """
    percent = -1 if found.measure == "loss" else 100
    original = found.original_top5 if top5 else found.original
    if original is None:
        raise TersenetError("the network tells ten classes apart or fewer, so there is no top-5 accuracy to draw")
    lines = []
    for name, points in found.lines().items():
        placed = [(point.rate, percent * (_top5(point) if top5 else point.quality)) for point in points]
        lines.append(Line(name, placed, dashed=name in DASHED, colour=_colour(name)))
    heights = [height for line in lines for _, height in line.points]
    height = percent * original
    low = max(min([*heights, height]), height - within)
    room = 0.05 * (max([*heights, height]) - low) or 0.5
    kind = "top-5 accuracy" if top5 else found.measure
    name = f"{found.source}: " if found.source else ""
    return figure(
        sorted(
            lines, key=lambda line: (line.dashed, known_lines().index(line.name) if line.name in known_lines() else 0)
        ),
        title=f"{name}{kind} and size of the file",
        x="times smaller than float32 parameters",
        y=kind if found.measure == "loss" else f"{kind}, %",
        log_x=True,
        y_range=(low - room, max([*heights, height]) + room),
        reference=(height, "original"),
    )


def table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: line by line, largest file first; * marks what nothing else beats in bytes and quality."""
    front = found.front()
    with_top5 = found.original_top5 is not None
    headers = ["form", "amount", "bytes", "rate", "formula", found.measure, "points lost"]
    headers += ["top-5"] if with_top5 else []
    rows = []
    for points in found.lines().values():
        for point in points:
            row = [
                f"{point.line} *" if point.key in front else point.line,
                point.amount,
                f"{point.file_bytes:,}",
                f"{point.rate:.1f}",
                "-" if point.formula_rate is None else f"{point.formula_rate:.1f}",
                f"{-point.quality:.4f}" if found.measure == "loss" else f"{100 * point.quality:.2f}",
                f"{point.lost_points:.2f}",
            ]
            rows.append(row + ([f"{100 * _top5(point):.2f}"] if with_top5 else []))
    return headers, rows


def _top5(point: ComparedPoint) -> float:
    assert point.top5 is not None
    return point.top5


def _colour(name: str) -> int:
    """The same in every picture, whichever lines are in it."""
    known = known_lines()
    if name not in known:
        return 0
    kind = [one for one in known if (one in DASHED) == (name in DASHED)]
    return kind.index(name)
