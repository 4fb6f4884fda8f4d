"""Shared values on the grid of int8: an integer from -127 to 127 times a scale, one a tensor or one an output row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from tersenet.bits import IntStream
from tersenet.forms._grid import usable_step
from tersenet.forms._kmeans import Start, assign, cluster
from tersenet.forms.dense import smallest_floats
from tersenet.storage import Affine, Integers, Reshape, Storage, Table, decode

LARGEST = 127


class ShareOnGrid(torch.autograd.Function):
    """round(centroids / scale of the first row)[index] times the row's scale: one multiply after exact integers.

    The gradient passes the rounding as if it were none (Bengio et al. 2013, arXiv:1308.3432).
    """

    @staticmethod
    def forward(ctx: Any, centroids: Tensor, index: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(index, scale)
        ctx.k = len(centroids)
        levels = levels_of(centroids, scale)[index.long()]
        return (levels.reshape(len(scale), -1) * scale[:, None]).reshape(index.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, scale = ctx.saved_tensors
        grad = grads[0].reshape(len(scale), -1).double() * (scale / scale[0]).double()[:, None]
        summed = torch.bincount(index.reshape(-1), weights=grad.reshape(-1), minlength=ctx.k)
        return summed.to(grads[0].dtype), None, None


def levels_of(centroids: Tensor, scale: Tensor) -> Tensor:
    """Whole numbers as float32; 0 is never negative."""
    return (centroids.detach() / scale[0]).round().clamp(-LARGEST, LARGEST) + 0.0


def fit_grid(
    weight: Float32[np.ndarray, "..."],
    k: int,
    init: Start,
    seed: int,
    importance: np.ndarray | None,
    by_row: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Centroids (k,) ascending, index (n,) and scale (1,) or (rows,): k-means of weight / scale, then whole numbers.

    The largest weight of a tensor (or row) is 127 times its scale. What shares a row's scale counts by its square, so
    that the error is that of the weights. Fewer than k centroids come where several would be the same whole number.
    """
    rows = weight.reshape(len(weight) if by_row else 1, -1)
    scale = usable_step(torch.from_numpy(np.abs(rows).max(1)) / LARGEST)
    steps = scale.numpy()[:, None]
    even = (rows / steps).astype(np.float32)
    masses = None
    if by_row or importance is not None:
        masses = np.broadcast_to(np.square(steps.astype(np.float64)), rows.shape)
        masses = masses if importance is None else masses * importance.reshape(rows.shape)
    found, _ = cluster(even, k, init=init, seed=seed, weights=masses)
    levels = np.unique(np.clip(np.rint(found), -LARGEST, LARGEST)) + np.float32(0)
    index = torch.from_numpy(assign(even.reshape(-1), levels).astype(np.int64))
    return torch.from_numpy(levels.astype(np.float32)) * scale[0], index, scale


def lower_grid(levels: np.ndarray, index: np.ndarray, scale: np.ndarray, coder: str) -> Storage:
    """A table of whole numbers, its index, and one multiply."""
    low = min(int(levels.min()), 0)
    high = max(int(levels.max()), 0)
    entries = IntStream(name="levels", values=levels.astype(np.int64) - low, alphabet=max(high - low + 1, 2))
    codes = IntStream(name="index", values=index, alphabet=len(levels))
    zero = Integers(IntStream(name="zero", values=np.array([-low]), alphabet=max(1 - low, 2)))
    return Affine(Table(Integers(entries), Integers(codes)), zero, smallest_floats(scale, coder))


def lift_grid(storage: Storage) -> tuple[Tensor, Tensor, Tensor] | None:
    """Centroids, index and scale of such a tree, or None if it is none."""
    tree = storage.source if isinstance(storage, Reshape) else storage
    if not (isinstance(tree, Affine) and isinstance(tree.levels, Table) and tree.zero.numel == 1):
        return None
    if not (isinstance(tree.levels.entries, Integers) and isinstance(tree.levels.index, Integers)):
        return None
    levels = tree.levels.entries.stream.values.astype(np.int64) - int(decode(tree.zero)[0])
    index = tree.levels.index.stream.values.astype(np.int64)
    scale = decode(tree.step).astype(np.float32)
    usable = np.isfinite(scale).all() and (scale >= np.finfo(np.float32).tiny).all()
    if not (usable and levels.size and index.size) or np.abs(levels).max() > LARGEST or index.max() >= len(levels):
        return None
    steps = torch.from_numpy(scale)
    return torch.from_numpy(levels.astype(np.float32)) * steps[0], torch.from_numpy(index), steps
