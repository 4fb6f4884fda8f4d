"""Weights on an even grid: an integer times a step, one step a tensor or one an output row.

After Jacob et al. 2018, arXiv:1712.05877, section 2.1. The integers are signed here, so that 0 is a level of every
grid; a zero point appears only in the file, where levels count from the least one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms._grid import Grid, level_storage, usable_step
from tersenet.forms.base import check_weight
from tersenet.storage import Storage

MAX_BITS = 16


class Uniform(Grid):
    """An integer of `bits` bits times a step, for each weight."""

    @classmethod
    def fit(
        cls, weight: Tensor, *, bits: int = 8, per: Literal["tensor", "row"] = "tensor", symmetric: bool = True
    ) -> Uniform:
        """Round to the nearest of at most 2**bits levels over the range of the tensor, or of each row.

        symmetric   levels from -(2**(bits-1) - 1) to its opposite; otherwise from the least weight (or 0) to the
                    largest (or 0), 0 staying exact (section 2.1)
        """
        weight = check_weight(weight, "uniform")
        if not 2 <= bits <= MAX_BITS:
            raise TersenetError(f"uniform weights of {bits} bits; 2 to {MAX_BITS} can be")
        if per not in ("tensor", "row"):
            raise TersenetError(f"a step per {per}; there is one per tensor or per row")
        rows = weight.reshape(weight.shape[0] if per == "row" else 1, -1)
        if symmetric:
            span, levels = rows.abs().amax(1), 2 ** (bits - 1) - 1
        else:
            span, levels = rows.amax(1).clamp(min=0) - rows.amin(1).clamp(max=0), 2**bits - 1
        return cls.on_grid(weight, usable_step(span / levels))

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
        found = level_storage(storage)
        if found is None:
            return None
        _, level, step = found
        return cls(torch.from_numpy(level.reshape(storage.shape)), torch.from_numpy(step.astype("float32")))
