"""Rows or sub-vectors as sums of a few table entries: residual quantization.

After Gong et al. 2014, arXiv:1412.6115, section 3.4; codes by beam search after Babenko and Lempitsky 2014 and Martinez et
al. 2016.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms._beam import beam_codes, error_of, refit
from tersenet.forms._vector_kmeans import cluster_vectors, sample
from tersenet.forms._vector_part import Axis, Codes, Part, Tables, cuts, lanes_of, vectors_of
from tersenet.forms._vectors import VectorForm
from tersenet.forms.base import check_weight, spread_importance
from tersenet.forms.dense import check_range
from tersenet.forms.product import check_cut, usable

# Rounds of search and least squares at most; each must lower the error by this share to be worth the next.
ROUNDS = 8
GAIN = 1e-3


class Residual(VectorForm):
    """Each sub-vector is the sum of one entry of each of t tables of k, which train by the gradients of all their uses."""

    summed = True
    beam: ClassVar[int] = 8  # for what is rounded after the fit

    @classmethod
    def fit(
        cls,
        weight: Tensor,
        *,
        k: int,
        rounds: int = 2,
        dim: int | None = None,
        axis: Axis = "in",
        beam: int = 8,
        table: str = "float32",
        importance: Tensor | None = None,
        seed: int = 0,
    ) -> Residual:
        """k-means of the sub-vectors, then of what that leaves, t times; then codes and tables in turn.

        rounds       t
        dim          weights a sub-vector; whole rows (`axis` in) or columns (out) by default, as in the paper
        beam         partial sums that the search for codes keeps; 1 is the paper's greedy choice
        importance   of each column, or of each weight: its factor in the squared error
        Rests and too few different sub-vectors as in Product; rounds end where nothing is left to code.
        """
        weight = check_weight(weight, "residual")
        for what, value in (("rounds", rounds), ("a beam", beam)):
            if isinstance(value, bool) or value < 1:
                raise TersenetError(f"residual: {what} of {value}; give 1 or more")
        lanes = lanes_of(weight, axis) if axis in ("in", "out") else weight
        dim = lanes.shape[-1] if dim is None else dim
        check_cut(dim, axis, "residual")
        check_range(weight, table)
        counted = spread_importance(importance, weight, "residual")
        weighing = None if counted is None else lanes_of(counted, axis)
        parts = []
        for cut in cuts(lanes.shape[1], dim, shared=True):
            masses = usable(None if weighing is None else vectors_of(weighing, cut))
            tables, codes = _fit(vectors_of(lanes, cut), k, rounds, beam, masses, seed)
            parts.append(Part([torch.from_numpy(one) for one in tables], torch.from_numpy(codes), cut))
        return cls(tuple(weight.shape), parts, axis, table)

    def encode(self, points: np.ndarray, tables: Tables) -> Codes:
        return beam_codes(points, tables, self.beam)


def _fit(
    points: np.ndarray, k: int, rounds: int, beam: int, weights: np.ndarray | None, seed: int
) -> tuple[Tables, np.ndarray]:
    """Tables and codes; of many points a sample makes the tables, and the last search and fit are over all."""
    part, part_weights = sample(points, weights, k, seed)
    tables, codes = _fit_part(part, k, rounds, beam, part_weights, seed)
    if part is not points:
        codes = beam_codes(points, tables, beam, weights)
        tables = refit(points, tables, codes, weights)
    return tables, codes


def _fit_part(
    points: np.ndarray, k: int, rounds: int, beam: int, weights: np.ndarray | None, seed: int
) -> tuple[Tables, np.ndarray]:
    """Tables round by round, then search and least squares in turn while that helps; the best that was seen."""
    tables: Tables = []
    chosen: list[np.ndarray] = []
    rest = points
    for number in range(rounds):
        entries, found = cluster_vectors(rest, k, weights=weights, seed=seed + number)
        tables.append(entries)
        chosen.append(found)
        rest = rest - entries[found]
        if not rest.any():
            break
    codes = np.stack(chosen)
    best, best_tables, best_codes = error_of(points, tables, codes, weights), tables, codes
    for _ in range(ROUNDS if len(tables) > 1 else 0):
        codes = beam_codes(points, tables, beam, weights)
        tables = refit(points, tables, codes, weights)
        error = error_of(points, tables, codes, weights)
        enough = error > best * (1 - GAIN)
        if error < best:
            best, best_tables, best_codes = error, tables, codes
        if enough:
            break
    return best_tables, best_codes
