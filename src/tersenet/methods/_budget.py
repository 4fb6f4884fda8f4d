"""One budget for several layers, each of which can be had at several costs: what lowers the sum of errors most goes first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tersenet.errors import TersenetError


class Point(NamedTuple):
    """A layer at a rank: what it costs, and its error."""

    rank: int
    cost: int
    error: float


def within(layers: Sequence[Sequence[Point]], budget: int) -> list[Point]:
    """A point of each layer, all together within `budget`.

    layers   the points of each, cost rising and error falling

    First along the lower convex hulls, the step with the most error for its cost before all others (Shoham and Gersho 1988,
    IEEE Trans. ASSP 36); what is left of the budget goes to points between, the largest gain first. Refused: a budget below
    what the first points take.
    """
    chosen = [points[0] for points in layers]
    left = budget - sum(point.cost for point in chosen)
    if left < 0:
        raise TersenetError(
            f"a budget of {budget:,} for {len(layers)} layers, which take {budget - left:,} even at rank 1; give more or "
            "name fewer"
        )
    hulls = [_hull(points) for points in layers]
    steps = [
        ((a.error - b.error) / (b.cost - a.cost), -number, a, b)
        for number, hull in enumerate(hulls)
        for a, b in pairwise(hull)
    ]
    for _, minus_number, a, b in sorted(steps, reverse=True, key=lambda step: step[:2]):
        if chosen[-minus_number] == a and b.cost - a.cost <= left:
            chosen[-minus_number] = b
            left -= b.cost - a.cost
    while True:
        gains = [
            (at.error - point.error, -number, point)
            for number, (at, points) in enumerate(zip(chosen, layers))
            for point in points
            if point.cost - at.cost <= left and point.error < at.error
        ]
        if not gains:
            return chosen
        _, minus_number, point = max(gains, key=lambda gain: gain[:2])
        left -= point.cost - chosen[-minus_number].cost
        chosen[-minus_number] = point


def _hull(points: Sequence[Point]) -> list[Point]:
    """Those on the lower convex hull."""
    hull: list[Point] = []
    for point in points:
        while len(hull) > 1 and _above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _above(a: Point, b: Point, c: Point) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b.error - a.error) * (c.cost - a.cost) >= (c.error - a.error) * (b.cost - a.cost)
