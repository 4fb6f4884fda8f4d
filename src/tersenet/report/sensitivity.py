"""What each layer alone can lose, as a figure: a line a layer, after Han et al. 2015, arXiv:1506.02626, figure 6."""

from __future__ import annotations

from tersenet.report.figure import Line, figure
from tersenet.search import Point, Sensitivity

AXES = {
    "prune": "weights kept, %",
    "channels": "channels kept, %",
    "rank": "numbers in two factors, %",
    "bits": "bits a weight",
}
TITLES = {"prune": "pruned", "channels": "losing channels", "rank": "as two thinner ones", "bits": "sharing values"}


def draw(found: Sensitivity, method: str) -> str:
    """The text of an .svg file: the quality against what remains of a layer, the others being whole."""
    percent = 100 if found.measure == "accuracy" else -1 if found.measure == "loss" else 1
    original = percent * found.original
    lines = []
    for points in found.of(method).values():
        placed = [(point.level if method == "bits" else 100 * point.level, percent * point.quality) for point in points]
        if method != "bits":
            placed = [(100.0, original), *(point for point in placed if point[0] < 100)]
        lines.append(Line(label(points[0]), placed))
    name = f"{found.source}: " if found.source else ""
    return figure(
        lines,
        title=f"{name}each layer alone {TITLES[method]}",
        x=AXES[method],
        y="accuracy, %" if found.measure == "accuracy" else found.measure,
        # Little is lost at half, much at a twentieth: shares are shown by factors.
        log_x=method != "bits",
        falling_x=True,
        reference=(original, "original"),
    )


def label(point: Point) -> str:
    """The layer, or the first of a group and how many go with it."""
    return point.name if len(point.layers) == 1 else f"{point.name} and {len(point.layers) - 1} more"
