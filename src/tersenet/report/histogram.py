"""A layer's kept weights as bars, the shared values on them as rules."""

from __future__ import annotations

import numpy as np

from tersenet.report.svg import Scale, chart, label, line, px, tick_text, ticks
from tersenet.report.text import count, escape, percent
from tersenet.report.weights import Distribution

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 10, 330, 12, 150
# The rules stand below the axis line, so that 256 of them do not hide the bars.
RULE_TOP, RULE_BOTTOM = 152, 166
# The outline of earlier weights is cut above this many times the highest bar, or the bars would be too low.
OUTLINE_TIMES = 3
# More rules than this would tint the bars they cross, and none could be pointed at.
MOST_RULES = 64


def draw(layer: Distribution) -> str:
    """One small chart; bars and rules tell their numbers when pointed at."""
    x = Scale(float(layer.edges[0]), float(layer.edges[-1]), LEFT, RIGHT)
    most = max(int(layer.counts.max()), 1)
    highest = most if layer.before is None else max(most, int(layer.before.max()))
    if is_cut(layer):
        highest = OUTLINE_TIMES * most
    y = Scale(0, highest, BOTTOM, TOP)
    body = [_bars(layer, x, y)]
    if layer.before is not None:
        body.append(_outline(layer.before, layer.edges, x, y))
    if layer.edges[0] < 0 < layer.edges[-1]:
        body.append(line(x(0), TOP, x(0), BOTTOM, "zero"))
    body.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    body.append(_rules(layer, x))
    marks = ticks(x.low, x.high, 4)
    step = marks[1] - marks[0] if len(marks) > 1 else 0.0
    for mark in marks:
        body.append(label(min(max(x(mark), LEFT + 12), RIGHT - 12), HEIGHT - 8, tick_text(mark, step)))
    return (
        f'<figure class="layer"><figcaption><b>{escape(layer.name)}</b> <span>{_caption(layer)}</span>'
        "</figcaption>"
        f"{chart(WIDTH, HEIGHT, _said(layer), body, 'histogram')}</figure>"
    )


def is_cut(layer: Distribution) -> bool:
    """Whether the outline is higher than the chart."""
    most = max(int(layer.counts.max()), 1)
    return layer.before is not None and int(layer.before.max()) > OUTLINE_TIMES * most


def _caption(layer: Distribution) -> str:
    shape = " × ".join(str(side) for side in layer.shape)
    kept = (
        f"{count(layer.kept)} of {count(layer.total)} kept"
        if layer.kept < layer.total
        else f"{count(layer.total)} weights"
    )
    shared = f", {len(layer.centroids):,} shared values" if len(layer.centroids) else ""
    return escape(f"{shape}, {kept}{shared}")


def _said(layer: Distribution) -> str:
    share = layer.kept / layer.total if layer.total else 0
    return (
        f"Weights of {layer.name}: {count(layer.kept)} of {count(layer.total)} kept ({percent(share)}), "
        f"from {layer.edges[0]:.4g} to {layer.edges[-1]:.4g}, {len(layer.centroids)} shared values"
    )


def _bars(layer: Distribution, x: Scale, y: Scale) -> str:
    kind = "shared" if layer.shared_only else "kept"
    bars = []
    for low, high, n in zip(layer.edges, layer.edges[1:], layer.counts):
        if n:
            left, width = x(float(low)), x(float(high)) - x(float(low))
            bars.append(
                f'<rect class="{kind}" x="{px(left + 0.4)}" y="{px(y(int(n)))}" width="{px(width - 0.8)}" '
                f'height="{px(BOTTOM - y(int(n)))}"><title>{low:.4g} to {high:.4g}: {int(n):,}</title></rect>'
            )
    return "".join(bars)


def _outline(counts: np.ndarray, edges: np.ndarray, x: Scale, y: Scale) -> str:
    steps = [f"M{px(x(float(edges[0])))} {BOTTOM}"]
    for high, n in zip(edges[1:], counts):
        steps.append(f"V{px(max(y(int(n)), TOP))}H{px(x(float(high)))}")
    return f'<path class="before" d="{"".join(steps)}V{BOTTOM}"/>'


def _rules(layer: Distribution, x: Scale) -> str:
    """Each shared value: a rule below the axis, and a faint one through the bars; many are one shape."""
    if len(layer.centroids) > MOST_RULES:
        below = "".join(f"M{px(x(float(value)))} {RULE_TOP}V{RULE_BOTTOM}" for value in layer.centroids)
        said = f"{len(layer.centroids):,} shared values"
        return f'<path class="centroid many" d="{below}"><title>{said}</title></path>'
    through = "".join(f"M{px(x(float(value)))} {TOP}V{BOTTOM}" for value in layer.centroids)
    rules = "".join(
        f'<line class="centroid" x1="{px(x(float(value)))}" x2="{px(x(float(value)))}" y1="{RULE_TOP}" '
        f'y2="{RULE_BOTTOM}"><title>{value:.6g}: {int(uses):,} weights</title></line>'
        for value, uses in zip(layer.centroids, layer.uses)
    )
    return (f'<path class="through" d="{through}"/>' if through else "") + rules
