"""Sub-vectors that share the entries of a codebook: product quantization.

After Gong et al. 2014, arXiv:1412.6115, section 3.3, and Jegou et al. 2011; sub-vectors of kernels and codebooks weighted
by what the layer meets after Stock et al. 2020, arXiv:1907.05686, section 3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms._vector_kmeans import cluster_vectors, nearest
from tersenet.forms._vector_part import Axis, Codes, Part, Tables, cuts, lanes_of, vectors_of
from tersenet.forms._vectors import VectorForm
from tersenet.forms.base import check_weight, spread_importance
from tersenet.forms.dense import check_range


class Product(VectorForm):
    """Each sub-vector of `dim` neighbours is one entry of a codebook of k, trained by the gradients of all its uses."""

    summed = False

    @classmethod
    def fit(
        cls,
        weight: Tensor,
        *,
        k: int,
        dim: int = 4,
        axis: Axis = "in",
        shared: bool = True,
        table: str = "float32",
        importance: Tensor | None = None,
        seed: int = 0,
    ) -> Product:
        """k-means of the sub-vectors along the rows (`axis` in) or the columns (out) of the weight's matrix.

        shared       one codebook for all sub-vectors; otherwise one for each place along the axis (Gong et al.)
        importance   of each column, or of each weight: its factor in the squared error
        Where dim does not divide a row, the shorter rests of all rows have a codebook of their own. A codebook larger
        than the number of different sub-vectors is reduced to them.
        """
        weight = check_weight(weight, "product")
        check_cut(dim, axis, "product")
        check_range(weight, table)
        counted = spread_importance(importance, weight, "product")
        lanes = lanes_of(weight, axis)
        weighing = None if counted is None else lanes_of(counted, axis)
        parts = []
        for cut in cuts(lanes.shape[1], dim, shared):
            masses = None if weighing is None else vectors_of(weighing, cut)
            entries, codes = cluster_vectors(vectors_of(lanes, cut), k, weights=usable(masses), seed=seed)
            parts.append(Part([torch.from_numpy(entries)], torch.from_numpy(codes)[None], cut))
        return cls(tuple(weight.shape), parts, axis, table)

    def encode(self, points: np.ndarray, tables: Tables) -> Codes:
        return nearest(points, tables[0])[None]


def usable(masses: np.ndarray | None) -> np.ndarray | None:
    """A part that no input reaches counts as if all reached it alike."""
    return None if masses is None or not masses.any() else masses


def check_cut(dim: int, axis: str, what: str) -> None:
    """Refuse lengths and axes that are none."""
    if isinstance(dim, bool) or dim < 1:
        raise TersenetError(f"{what}: sub-vectors of {dim} weights; give 1 or more")
    if axis not in ("in", "out"):
        raise TersenetError(f"{what}: axis {axis} is unknown; sub-vectors lie along in (rows) or out (columns)")
