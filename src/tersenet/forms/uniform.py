"""Weights on an even grid: an integer times a step, one step a tensor, an output row, or a group of weights.

After Jacob et al. 2018, arXiv:1712.05877, section 2.1. The integers are signed here, so that 0 is a level of every
grid; a zero point appears only in the file, where levels count from the least one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms._grid import Grid, Per, run_count, stored_grid
from tersenet.forms._ranges import Levels, Range, lay
from tersenet.forms.base import check_weight
from tersenet.storage import Storage

MAX_BITS = 16


class Uniform(Grid):
    """An integer of a few bits times a step, for each weight."""

    @classmethod
    def fit(
        cls,
        weight: Tensor,
        *,
        bits: int = 8,
        per: Per = "tensor",
        symmetric: bool = True,
        range: Range = "minmax",
        importance: Float[Tensor, "rows columns"] | None = None,
    ) -> Uniform:
        """Round to the nearest of at most 2**bits levels over the range of the tensor, of each row, or of groups.

        per         "tensor", "row", or a number: groups of so many weights along each row, or of the largest divisor
                    of the row's length below it
        symmetric   levels from -(2**(bits-1) - 1) to its opposite; otherwise from the least weight (or 0) to the
                    largest (or 0), 0 staying exact (section 2.1)
        range       "minmax"; "percentile", between the percentiles 99.9 of both sides; "mse", the least squared error
                    of clipped ranges; "hessian", the same with errors weighed by `importance`; "exact", the grid that
                    the weights lie on to the last bit
        importance  of each weight, as a matrix of the first axis by all others: the mean square of what it is
                    multiplied with
        """
        weight = check_weight(weight, "uniform")
        least = 2 if symmetric else 1
        if not least <= bits <= MAX_BITS:
            raise TersenetError(f"uniform weights of {bits} bits; {least} to {MAX_BITS} can be")
        runs = weight.reshape(run_count(tuple(weight.shape), per), -1).double()
        grids = lay(runs, Levels(bits, symmetric), range, _of_each_weight(importance, weight, len(runs)))
        return cls(grids.levels(runs).reshape(weight.shape), grids.step, grids.low, grids.high)

    @classmethod
    def on_grid(cls, weight: Tensor, step: Tensor) -> Uniform:
        """Each weight's nearest multiple of its step, ties to even; steps as `usable_step` gives them."""
        weight = check_weight(weight, "uniform")
        if not bool((torch.isfinite(step) & (step > 0)).all()):
            raise TersenetError("a step is 0, negative or not finite; steps of a grid are positive")
        runs = weight.reshape(len(step), -1).double() / step[:, None].double()
        return cls(runs.round().to(torch.int64).reshape(weight.shape), step)

    @classmethod
    def lift(cls, storage: Storage) -> Uniform | None:
        found = stored_grid(storage)
        return None if found is None else cls(found.level, found.step)


def _of_each_weight(importance: Tensor | None, weight: Tensor, runs: int) -> Float[Tensor, "m n"] | None:
    if importance is None:
        return None
    rows = len(weight) if weight.ndim > 1 else 1
    if importance.shape != (rows, weight.numel() // rows) or not bool((importance >= 0).all()):
        raise TersenetError(
            f"importance of shape {tuple(importance.shape)} for a weight of {tuple(weight.shape)}; expected "
            f"{(rows, weight.numel() // rows)}, numbers of 0 or more"
        )
    return importance.detach().cpu().double().reshape(runs, -1)
