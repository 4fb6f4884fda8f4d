"""k-means of short vectors, each coordinate of each point with a weight of its own if wanted.

READ FIRST
  1. The cost of giving centroid c to point x is sum over coordinates of w (x - c)^2; without weights w = 1.
  2. Points are float32, so products are too; means and costs are summed in float64 in the order of the points. The same
     input and seed give the same centroids on the same machine.
  3. Large inputs start on a sample: greedy k-means++ (Arthur and Vassilvitskii 2007, section 5) and Lloyd's algorithm
     (Lloyd 1982) there, then Lloyd over all points until a step gains less than `TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from tersenet.errors import TersenetError

MAX_CENTROIDS: Final = 65_536
"""A codebook's limit in the file: every index fits 16 bits."""

# Points of the sample for each centroid; Johnson et al. 2019 (arXiv:1702.08734) train on as many.
SAMPLE = 256
# A step that lowers the cost by less than this share is the last one; over all points, which the sample has prepared,
# a step takes long and finds little.
SETTLED = 1e-4
SETTLED_FROM_SAMPLE = 1e-3
# Scores held at once: they stay in the cache.
SCORES = 1 << 16

Points = Float32[np.ndarray, "n dim"]
Weights = Float[np.ndarray, "n dim"]


def cluster_vectors(
    points: Points, k: int, *, weights: Weights | None = None, seed: int = 0, iterations: int = 50
) -> tuple[Float32[np.ndarray, "k dim"], Int64[np.ndarray, " n"]]:
    """At most k centroids and the index of each point's own.

    Where there are no more than k different points, these are the centroids, and nothing is lost: tell the user when
    fewer than k come. Refused: no points, points or weights that are not finite, negative weights, k out of range.
    """
    points, importance = _checked(points, weights, k)
    few = _distinct(points, k, seed)
    if few is not None:
        return few, nearest(points, few)
    part, part_weights = sample(points, importance, k, seed)
    centroids = plus_plus(part, k, part_weights, seed)
    centroids = _lloyd(part, centroids, part_weights, iterations, SETTLED)
    if part is not points:
        centroids = _lloyd(points, centroids, importance, iterations, SETTLED_FROM_SAMPLE)
    return centroids, nearest(points, centroids, importance)


def nearest(
    points: Points, centroids: Float32[np.ndarray, "k dim"], weights: Weights | None = None
) -> Int64[np.ndarray, " n"]:
    """The index of the centroid of least cost for each point; the first of equals."""
    codes = np.empty(len(points), np.int64)
    for part, scores in score_blocks(points, centroids, weights):
        codes[part] = scores.argmax(1)
    return codes


def score_blocks(
    points: np.ndarray, centroids: np.ndarray, weights: np.ndarray | None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of the points with their scores (points, k): the larger, the less the cost; x x^T is left out."""
    rows = max(1, SCORES // len(centroids))
    # From their middle: far from it, products would lose the digits that tell centroids apart.
    middle = centroids.mean(0)
    centroids = centroids - middle
    across = np.ascontiguousarray(centroids.T)
    half = np.square(centroids).sum(1) / 2
    half_squares = np.square(across) / 2
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        if weights is None:
            scores = (points[part] - middle) @ across
            scores -= half
        else:
            scores = ((points[part] - middle) * weights[part]) @ across
            scores -= weights[part] @ half_squares
        yield part, scores


def costs(points: np.ndarray, chosen: np.ndarray, weights: np.ndarray | None = None) -> Float64[np.ndarray, " n"]:
    """Of each point with its own centroid (n, dim), or with one for all (dim,)."""
    squares = np.square(points - chosen)
    if weights is not None:
        squares *= weights
    return squares.sum(1, dtype=np.float64)


def means(
    points: np.ndarray, codes: np.ndarray, weights: np.ndarray | None, before: Float32[np.ndarray, "k dim"]
) -> Float32[np.ndarray, "k dim"]:
    """The centroid of least cost for the points of each code; where nothing weighs, what it was `before`."""
    found = np.empty(before.shape)
    k = len(before)
    mass = np.bincount(codes, minlength=k).astype(np.float64)
    for axis in range(points.shape[1]):
        column = points[:, axis].astype(np.float64)
        if weights is not None:
            mass = np.bincount(codes, weights=weights[:, axis], minlength=k).astype(np.float64)
            column *= weights[:, axis]
        total = np.bincount(codes, weights=column, minlength=k)
        found[:, axis] = np.where(mass > 0, total / np.where(mass > 0, mass, 1), before[:, axis])
    return found.astype(np.float32)


def sample(points: np.ndarray, weights: np.ndarray | None, k: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Enough points for k centroids to begin with, in their order: all, or some drawn without their weights."""
    if len(points) <= SAMPLE * k:
        return points, weights
    chosen = np.sort(np.random.default_rng(seed).choice(len(points), SAMPLE * k, replace=False))
    return points[chosen], None if weights is None else weights[chosen]


def plus_plus(points: np.ndarray, k: int, weights: np.ndarray | None, seed: int) -> Float32[np.ndarray, "k dim"]:
    """k of the points, each drawn by its cost with the ones before; the best of a few drawn each time."""
    draw = np.random.default_rng(seed)
    tries = 2 + int(np.log(k))
    given, points = points, points - points.mean(0)
    weighed = points if weights is None else points * weights
    own = (weighed * points).sum(1)
    chosen = np.empty(k, np.int64)
    least = np.full((1, len(points)), np.inf, np.float32)
    for number in range(k):
        below = np.cumsum(least[0] if number else np.ones(len(points)), dtype=np.float64)
        if below[-1] > 0:
            drawn = np.searchsorted(below, draw.random(tries if number else 1) * below[-1], side="right")
            drawn = np.minimum(drawn, len(points) - 1)
        else:  # weights of 0 hide what is left: any point will do
            drawn = draw.integers(len(points), size=1)
        candidates = points[drawn]
        apart = own - 2 * (candidates @ weighed.T)
        apart += np.square(candidates).sum(1, keepdims=True) if weights is None else np.square(candidates) @ weights.T
        np.minimum(np.maximum(apart, 0, out=apart), least, out=apart)
        best = int(apart.sum(1, dtype=np.float64).argmin())
        chosen[number], least = drawn[best], apart[best : best + 1].copy()
    return given[chosen]


def _lloyd(
    points: np.ndarray, centroids: np.ndarray, weights: np.ndarray | None, iterations: int, settled: float
) -> Float32[np.ndarray, "k dim"]:
    """Until no point moves, or a step gains little; an empty cluster goes to the point that costs most."""
    before = np.inf
    codes = None
    for _ in range(iterations):
        last, codes = codes, nearest(points, centroids, weights)
        if last is not None and np.array_equal(last, codes):
            break
        each = costs(points, centroids[codes], weights)
        total = float(each.sum())
        empty = np.flatnonzero(np.bincount(codes, minlength=len(centroids)) == 0)
        if len(empty):
            farthest = np.argsort(-each, kind="stable")[: len(empty)]
            codes[farthest] = empty
        elif total >= before * (1 - settled):
            break
        before = total
        centroids = means(points, codes, weights, centroids)
    return centroids


def _distinct(points: np.ndarray, k: int, seed: int) -> Float32[np.ndarray, "k dim"] | None:
    """The different points, if they are no more than k; a sample tells nearly always that they are more."""
    if len(points) > 8 * k:
        drawn = np.random.default_rng(seed).choice(len(points), 4 * k, replace=False)
        if len(np.unique(points[drawn], axis=0)) > k:
            return None
    found = np.unique(points, axis=0)
    return found if len(found) <= k else None


def _checked(points: np.ndarray, weights: np.ndarray | None, k: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Points without negative zeros; weights as float32, their mean 1, so that no product overflows."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= MAX_CENTROIDS:
        raise TersenetError(f"k is {k}; give a whole number of centroids from 1 to {MAX_CENTROIDS}")
    if points.size == 0:
        raise TersenetError(f"points of shape {points.shape}; there is nothing to cluster")
    bad = int((~np.isfinite(points)).sum())
    if bad:
        raise TersenetError(f"{bad} of {points.size} values are NaN or infinite; only finite weights can be shared")
    if weights is None:
        return points + np.float32(0), None
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise TersenetError("a weight is negative, NaN or infinite; weights are finite and 0 or more")
    mean = float(weights.mean(dtype=np.float64))
    if mean == 0:
        raise TersenetError("all weights are 0; at least one value must count")
    return points + np.float32(0), np.ascontiguousarray(weights / mean, dtype=np.float32)
