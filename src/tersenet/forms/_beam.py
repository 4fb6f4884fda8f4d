"""Codes of a sum of table entries: beam search, and tables that fit given codes.

After Babenko and Lempitsky 2014 (Additive Quantization for Extreme Vector Compression, CVPR) and Martinez et al. 2016
(Revisiting Additive Quantization, ECCV): the best codes given the tables are hard to find exactly, and a beam of a few
partial sums comes near.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from tersenet.forms._vector_kmeans import costs, means
from tersenet.forms._vector_part import Codes, Tables, total

# Sums held at once: points times beam times entries.
HELD = 1 << 18


def beam_codes(
    points: Float32[np.ndarray, "n dim"], tables: Tables, beam: int, weights: np.ndarray | None = None
) -> Codes:
    """One code into each table, in order; after each table the `beam` best partial sums go on. beam 1 is greedy."""
    largest = max(len(table) for table in tables)
    rows = max(1, HELD // (largest * beam))
    codes = np.empty((len(tables), len(points)), np.int64)
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        codes[:, part] = _search(points[part], tables, beam, None if weights is None else weights[part])
    return codes


def _search(points: np.ndarray, tables: Tables, beam: int, weights: np.ndarray | None) -> np.ndarray:
    n, dim = points.shape
    rest = points[:, None, :]  # what each kept sum leaves, (n, kept, dim)
    left = (np.square(points) if weights is None else weights * np.square(points)).sum(1)[:, None]
    history = np.empty((0, n, 1), np.int64)
    for table in tables:
        kept, k = rest.shape[1], len(table)
        weighed = rest if weights is None else rest * weights[:, None, :]
        cost = weighed.reshape(-1, dim) @ (-2 * table.T)
        cost = cost.reshape(n, kept, k)
        squares = np.square(table)
        cost += squares.sum(1) if weights is None else (weights @ squares.T)[:, None, :]
        cost += left[:, :, None]
        cost = cost.reshape(n, kept * k)
        most = min(beam, kept * k)
        if most < cost.shape[1]:
            best = np.argpartition(cost, most - 1, axis=1)[:, :most]
        else:
            best = np.broadcast_to(np.arange(most), (n, most))
        left = np.take_along_axis(cost, best, 1)
        origin, code = np.divmod(best, k)
        rest = np.take_along_axis(rest, origin[:, :, None], 1) - table[code]
        history = np.concatenate([np.take_along_axis(history, origin[None], 2), code[None]])
    winner = left.argmin(1)
    return np.take_along_axis(history, winner[None, :, None], 2)[:, :, 0]


def refit(
    points: np.ndarray, tables: Tables, codes: np.ndarray, weights: np.ndarray | None = None, sweeps: int = 4
) -> Tables:
    """Tables of less squared error for given codes: least squares by Gauss-Seidel, each table in turn the means of what
    the others leave. An entry that nothing takes stays.
    """
    fitted = [table.copy() for table in tables]
    rest = points - total(fitted, codes)
    for _ in range(sweeps if len(tables) > 1 else 1):
        for number, chosen in enumerate(codes):
            rest = rest + fitted[number][chosen]
            fitted[number] = means(rest, chosen, weights, fitted[number])
            rest = rest - fitted[number][chosen]
    return fitted


def error_of(points: np.ndarray, tables: Tables, codes: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The squared error of the sums, float64."""
    return float(costs(points, total(tables, codes), weights).sum())
