"""Weights -a and +a, one a for each row: one bit a weight.

Signs after Courbariaux et al. 2015, arXiv:1511.00363, section 2.2; the scale after Rastegari et al. 2016,
arXiv:1603.05279, section 3.1: for given signs the squared error is least where a is the mean |w|.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tersenet.bits import IntStream
from tersenet.forms._grid import Grid, Per, run_count, runs_at
from tersenet.forms.base import FLOAT_BITS, check_weight
from tersenet.forms.dense import smallest_floats
from tersenet.storage import Affine, Integers, Reshape, Storage, Table, decode

# -1 and +1 counted from -1. Through this table a bit becomes an integer of the grid.
SIGNS = (0, 2)


class Binary(Grid):
    """level   -1 or +1 for each weight, fixed after fit; int8
    step       the a of each row, or one for all; float32, trainable
    """

    @classmethod
    def fit(cls, weight: Tensor, *, per: Per = "row") -> Binary:
        """The nearest such weight: signs, 0 counting as positive, and mean |w| (eq. 6). A vector is one row."""
        weight = check_weight(weight, "binary")
        rows = weight.reshape(run_count(tuple(weight.shape), per), -1)
        return cls(_signs(weight), short_scale(rows.double().abs().mean(1)))

    def formula_bits(self) -> float:
        """n + m b."""
        return float(self.level.numel() + len(self.step) * FLOAT_BITS)

    def rate_bits(self) -> Tensor:
        return torch.tensor(self.level.numel() + 32.0 * len(self.step))

    def nearest(self, values: Float[Tensor, "rows n"], columns: Int[Tensor, " n"]) -> Float[Tensor, "rows n"]:
        return _signs(values) * self.step.detach().double()[runs_at(self.shape, len(self.step), columns)]

    def snapped(self, weight: Tensor) -> Binary:
        return Binary(_signs(check_weight(weight, "binary")), self.step)

    def lower(self, coder: str) -> Storage:
        bits = IntStream(name="signs", values=(self.level.cpu().reshape(-1).numpy() > 0).astype(np.uint8), alphabet=2)
        signs = Integers(IntStream(name="sign", values=np.array(SIGNS), alphabet=max(SIGNS) + 1))
        zero = Integers(IntStream(name="zero", values=np.array([1]), alphabet=2))
        tree = Affine(Table(signs, Integers(bits)), zero, smallest_floats(self.step.detach().cpu().numpy(), coder))
        return tree if len(self.shape) == 1 else Reshape(tree, self.shape)

    @classmethod
    def lift(cls, storage: Storage) -> Binary | None:
        tree = storage.source if isinstance(storage, Reshape) else storage
        if not (isinstance(tree, Affine) and isinstance(tree.levels, Table)):
            return None
        entries, bits, zero = tree.levels.entries, tree.levels.index, tree.zero
        if not (isinstance(entries, Integers) and isinstance(bits, Integers) and isinstance(zero, Integers)):
            return None
        if tuple(entries.stream.values) != SIGNS or tuple(zero.stream.values) != (1,) or bits.alphabet != 2:
            return None
        level = 2 * torch.from_numpy(bits.stream.values.astype(np.int64)) - 1
        return cls(level.reshape(storage.shape), torch.from_numpy(decode(tree.step).astype(np.float32)))


def short_scale(scale: Tensor) -> Tensor:
    """Scales of 0 or more, rounded to float16 where each is 0 or a normal number there, else to float32."""
    half = scale.to(torch.float16).to(torch.float32)
    limits = torch.finfo(torch.float16)
    fits = bool(((scale == 0) | ((half >= limits.tiny) & (half <= limits.max))).all())
    return half if fits else scale.to(torch.float32)


def _signs(values: Tensor) -> Tensor:
    return torch.where(values < 0, -1, 1).to(torch.int8)
