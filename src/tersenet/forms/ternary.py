"""Weights -a, 0 and +a, one a for each row, after Li et al. 2016, arXiv:1605.04711."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms._grid import Grid, Per, affine, run_count, stored_grid, usable_step
from tersenet.forms.base import check_weight
from tersenet.forms.dense import smallest_floats
from tersenet.storage import Reshape, Storage

# Weights within this many times the mean |w| become 0: the paper's approximate optimum (eq. 6).
THRESHOLD = 0.7


class Ternary(Grid):
    """level   -1, 0 or +1 for each weight, fixed after fit; int8
    step       the a of each row, or one for all; float32, trainable
    """

    @classmethod
    def fit(
        cls,
        weight: Tensor,
        *,
        per: Per = "row",
        threshold: Literal["mean", "least_squares"] = "least_squares",
    ) -> Ternary:
        """Keep what is above a threshold; a is the mean |w| of what is kept, the least-squares scale (eq. 5).

        threshold   "mean": 0.7 times the mean |w| of the row (eq. 6), or the one with the least squared error, exactly

        A vector is one row. A row of zeros stays zero.
        """
        weight = check_weight(weight, "ternary")
        if threshold not in ("mean", "least_squares"):
            raise TersenetError(f"a threshold by {threshold}; there are mean and least_squares")
        rows = weight.reshape(run_count(tuple(weight.shape), per), -1)
        size = rows.abs().double()
        kept = size > THRESHOLD * size.mean(1, keepdim=True) if threshold == "mean" else _kept_by_optimum(size)
        # Of equal weights the mean may round to just above each of them.
        scale = (size * kept).sum(1) / kept.sum(1).clamp(min=1)
        level = rows.sign() * kept
        return cls(level.to(torch.int8).reshape(weight.shape), usable_step(scale))

    def __init__(self, level: Tensor, step: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> None:
        ones = torch.ones(len(step), dtype=torch.int64)
        super().__init__(level, step, -ones if low is None else low, ones if high is None else high)

    def lower(self, coder: str) -> Storage:
        step = smallest_floats(self.step.detach().cpu().numpy(), coder)
        # All three are counted, those too that do not occur: so it is known for a ternary weight when it is read.
        tree = affine(self.levels_by_run(), np.array([-1]), step, alphabet=3)
        return tree if len(self.shape) == 1 else Reshape(tree, self.shape)

    @classmethod
    def lift(cls, storage: Storage) -> Ternary | None:
        found = stored_grid(storage)
        if found is None or found.zero != (1,) or found.alphabet != 3:
            return None
        return cls(found.level, found.step)


def _kept_by_optimum(size: Float[Tensor, "rows n"]) -> Tensor:
    """Which of |w| to keep, so that the squared error is least: of the k largest, those with the largest
    (sum)^2 / k (eq. 4 with the scale of eq. 5), all k tried.
    """
    ordered, _ = size.sort(1, descending=True)
    gain = ordered.cumsum(1).square() / torch.arange(1, size.shape[1] + 1)
    least = ordered.gather(1, gain.argmax(1, keepdim=True))
    return (size >= least) & (size > 0)
