"""One weight matrix pruned so that its answers change least: Optimal Brain Surgeon for a layer.

READ FIRST
  1. A row w changes to w + d at the cost d^T H d, H being the second moment of what the layer meets. To set w_q to
     zero costs least w_q^2 / [H^-1]_qq, the others moving by -w_q / [H^-1]_qq H^-1 e_q; then H^-1 loses row and
     column q by one step of Gaussian elimination (Hassibi and Stork 1993, eq. 5; Frantar and Alistarh 2022,
     arXiv:2208.11580, eq. 4 and lemma 1).
  2. Rows do not depend on one another, so the order of removal and its costs are found row by row, to the end; how many
     go from each row is decided afterwards.
  3. Given which weights stay, the best values are a least-squares solution: they do not depend on the order.
  4. Where 2 is too much work, w_q^2 / [H^-1]_qq with nothing gone yet stands for the cost. Where 3 is, columns are
     decided in one order for all rows, and errors go to the columns still open alone (Frantar and Alistarh 2023,
     SparseGPT, arXiv:2301.00774, section 3).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from tersenet.methods._feedback import BLOCK, Rows, factorise, feed_back
from tersenet.methods.patterns import Neighbours, pattern_mask

Matrix = Float64[np.ndarray, "rows columns"]
Mask = Bool[np.ndarray, "rows columns"]
Square = Float64[np.ndarray, "columns columns"]

# Numbers of the inverses that are worked on together: 32 MiB. 16 rows of 576: 0.7 s, and 1.0 s with a quarter of it.
TOGETHER = 2**22
# Up to this many rows times columns^3 weights are removed one by one: about a minute on one core.
REMOVAL_WORK = 5e10
# The same for least squares, where the sum over rows of kept^3 counts.
REFIT_WORK = 2e12
# What is left of an inverse is gathered once this share of it is gone.
GATHER = 0.25


def costs_of(target: Matrix, hessian: Square, open_: Mask, pattern: Neighbours | None = None) -> Matrix:
    """What setting each weight to zero costs: by `removal_costs`, or where that is too much with nothing gone yet."""
    rows, columns = target.shape
    if rows * columns**3 <= REMOVAL_WORK:
        return removal_costs(target, hessian, open_, pattern)
    costs = np.where(open_, np.square(target) / np.diagonal(np.linalg.inv(hessian)), 0.0)
    if pattern is not None:
        costs[pattern_mask(torch.from_numpy(costs), pattern).numpy()] = np.inf
    return costs


def values_of(
    target: Matrix, hessian: Square, kept: Mask, open_: Mask, row_weight: Rows, pattern: Neighbours | None = None
) -> Matrix:
    """The matrix with only `kept` left of it, the rest made good: by `refit`, or where that is too much in order."""
    if (kept.sum(1).astype(float) ** 3).sum() <= REFIT_WORK:
        return refit(target, hessian, kept)
    return prune_in_order(target, hessian, kept, open_, row_weight, pattern)


def removal_costs(target: Matrix, hessian: Square, open_: Mask, pattern: Neighbours | None = None) -> Matrix:
    """What the removal of each weight costs, the cheapest of its row first and the others made good each time.

    target    the best values before any is removed
    open_     False for weights that are zero already: they go first, and cost nothing
    pattern   costs of what it keeps are infinite

    Costs never fall along the order of removal (running maximum), so that a threshold takes a beginning of it.
    """
    rows, columns = target.shape
    inverse = torch.from_numpy(np.linalg.inv(hessian))
    step = max(1, TOGETHER // columns**2)
    parts = [
        _remove_all(
            torch.from_numpy(target[one : one + step]), inverse, torch.from_numpy(open_[one : one + step]), pattern
        )
        for one in range(0, rows, step)
    ]
    return np.concatenate(parts)


def _remove_all(weight: Tensor, inverse: Tensor, open_: Tensor, pattern: Neighbours | None) -> np.ndarray:
    rows, columns = weight.shape
    infinite = torch.tensor(torch.inf, dtype=torch.float64)
    costs = torch.full((rows, columns), torch.inf, dtype=torch.float64)
    highest = torch.zeros(rows, dtype=torch.float64)
    place = torch.arange(columns).expand(rows, columns)
    weight, inverse = weight.clone(), inverse.expand(rows, columns, columns).clone()
    gone, closed, every = torch.zeros(rows, columns, dtype=torch.bool), ~open_, torch.arange(rows)
    room = None
    if pattern is not None:
        sizes = torch.bincount(torch.arange(columns) // pattern.m)
        room = (sizes - pattern.n).clamp(min=0).expand(rows, -1).clone()
    for number in range(columns):
        diagonal = inverse.diagonal(dim1=1, dim2=2)
        cost = torch.where(closed, -1.0, weight.square() / diagonal)
        if room is not None:
            full = room.gather(1, place // pattern.m) <= 0  # type: ignore[union-attr]
            cost = torch.where(full & ~closed, infinite, cost)
        least, q = torch.where(gone, infinite, cost).min(1)
        going = torch.isfinite(least)
        if not going.any():
            break
        highest = torch.maximum(highest, torch.where(going, least, 0.0))
        costs[every[going], place[every, q][going]] = highest[going]
        column = inverse[every, :, q]
        share = torch.where(going, 1 / column[every, q], 0.0)
        weight -= column * (weight[every, q] * share)[:, None]
        inverse.baddbmm_(column[:, :, None], (column * -share[:, None])[:, None, :])
        gone[every, q] |= going
        if room is not None:
            room[every, place[every, q] // pattern.m] -= going.long()  # type: ignore[union-attr]
        left = columns - number - 1
        if room is None and left and left < (1 - GATHER) * weight.shape[1]:
            stays = torch.nonzero(~gone)[:, 1].reshape(rows, left)
            inverse = inverse.gather(1, stays[:, :, None].expand(-1, -1, weight.shape[1]))
            inverse = inverse.gather(2, stays[:, None, :].expand(-1, left, -1))
            weight, place, closed = (one.gather(1, stays) for one in (weight, place, closed))
            gone = torch.zeros(rows, left, dtype=torch.bool)
    return costs.numpy()


def refit(target: Matrix, hessian: Square, kept: Mask) -> Matrix:
    """The values of the kept weights that come nearest to what `target` answers; the others are zero."""
    fitted = np.zeros_like(target)
    pull = target @ hessian
    for row, mask in enumerate(kept):
        (stays,) = np.nonzero(mask)
        fitted[row, stays] = np.linalg.solve(hessian[np.ix_(stays, stays)], pull[row, stays])
    return fitted


def prune_in_order(
    target: Matrix, hessian: Square, kept: Mask, open_: Mask, row_weight: Rows, pattern: Neighbours | None = None
) -> Matrix:
    """Columns decided one after the other, errors carried to those still open.

    kept   how many stay in each block of columns; which, is decided when the block's turn comes, with `pattern` as well
    """
    order = (
        np.argsort(-np.diagonal(hessian), kind="stable") if pattern is None else _groups_in_order(hessian, pattern.m)
    )
    factor = factorise(hessian, order)
    block = BLOCK if pattern is None else max(BLOCK // pattern.m, 1) * pattern.m
    chosen_at_once = block if pattern is None else pattern.m
    kept, open_ = kept[:, order], open_[:, order]
    stays = np.zeros_like(kept)

    def decide(values: np.ndarray, column: int) -> np.ndarray:
        if column % chosen_at_once == 0:
            here = slice(column, column + chosen_at_once)
            worth = row_weight[:, None] * factor.cost[here] * np.square(values[:, here])
            worth = np.where(open_[:, here], worth, -1.0)
            if pattern is None:
                stays[:, here] = largest(worth.reshape(1, -1), int(kept[:, here].sum())).reshape(worth.shape)
            else:
                stays[:, here] = largest(worth, pattern.n)
            stays[:, here] &= open_[:, here]
        return np.where(stays[:, column], values[:, column], 0.0)

    return feed_back(target, factor, decide, block=block)


def largest(worth: Matrix, count: int) -> Mask:
    """The `count` largest of each row; ties take the first."""
    chosen = np.zeros(worth.shape, bool)
    np.put_along_axis(chosen, np.argsort(-worth, axis=1, kind="stable")[:, :count], True, axis=1)
    return chosen


def _groups_in_order(hessian: Square, m: int) -> Int64[np.ndarray, " columns"]:
    """Columns of m neighbours at a time, by the falling sum of their diagonal; a shorter last group stays the last."""
    columns = len(hessian)
    whole = columns // m
    sums = np.diagonal(hessian)[: whole * m].reshape(whole, m).sum(1)
    groups = np.arange(whole * m).reshape(whole, m)[np.argsort(-sums, kind="stable")]
    return np.concatenate([groups.reshape(-1), np.arange(whole * m, columns)])
