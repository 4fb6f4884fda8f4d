"""Weights in fixed point: a signed whole number times a power of two, after Courbariaux et al. 2014, arXiv:1412.7024."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms._grid import Grid, affine, stored_grid
from tersenet.forms.base import check_weight
from tersenet.forms.dense import smallest_floats
from tersenet.storage import Reshape, Storage

LEAST_BITS, MOST_BITS = 2, 16
EXPONENT_BITS = 8
# Powers of two that are normal numbers in float32, with 16 bits to spare above.
LEAST_EXPONENT, MOST_EXPONENT = -126, 110


class FixedPoint(Grid):
    """level   a signed integer of `bits` bits for each weight, fixed after fit
    step       2 to the power of `exponent`, one for all; fixed
    """

    def __init__(self, level: Tensor, exponent: int, bits: int) -> None:
        low, high = mantissas(bits)
        super().__init__(
            level, torch.tensor([2.0**exponent]), torch.tensor([low]), torch.tensor([high]), step_trains=False
        )
        self.bits, self.exponent = bits, exponent

    @classmethod
    def fit(cls, weight: Tensor, *, bits: int = 8, exponent: int | None = None, overflow: float = 0.0) -> FixedPoint:
        """Round to the nearest multiple of 2^exponent; what lies beyond the range becomes its end.

        bits       of the mantissa, its sign included; 2 to 16
        exponent   by default the least with at most the share `overflow` of the weights beyond the range
        """
        weight = check_weight(weight, "fixed_point")
        if exponent is None:
            exponent = exponent_for(weight, bits, overflow)
        if not LEAST_EXPONENT <= exponent <= MOST_EXPONENT:
            raise TersenetError(f"an exponent of {exponent}; {LEAST_EXPONENT} to {MOST_EXPONENT} can be")
        low, high = mantissas(bits)
        level = (weight.double() / 2.0**exponent).round().clamp(low, high)
        return cls(level.to(torch.int64), exponent, bits)

    def snapped(self, weight: Tensor) -> FixedPoint:
        return FixedPoint.fit(weight, bits=self.bits, exponent=self.exponent)

    def formula_bits(self) -> float:
        """n bits + one exponent of 8."""
        return float(self.bits * self.level.numel() + EXPONENT_BITS)

    def rate_bits(self) -> Tensor:
        return torch.tensor(self.formula_bits())

    def lower(self, coder: str) -> Storage:
        step = smallest_floats(self.step.cpu().numpy(), coder)
        # All mantissas are counted, those too that do not occur: so fixed point is known when it is read.
        low, high = mantissas(self.bits)
        tree = affine(self.levels_by_run(), np.array([low]), step, alphabet=high - low + 1)
        return tree if len(self.shape) == 1 else Reshape(tree, self.shape)

    @classmethod
    def lift(cls, storage: Storage) -> FixedPoint | None:
        found = stored_grid(storage)
        if found is None or len(found.step) > 1:
            return None
        bits = found.alphabet.bit_length() - 1
        mantissa, exponent = math.frexp(float(found.step[0]))
        whole = found.alphabet == 2**bits and found.zero == (found.alphabet // 2,)
        power = mantissa == 0.5 and LEAST_EXPONENT <= exponent - 1 <= MOST_EXPONENT
        if not (whole and power and LEAST_BITS <= bits <= MOST_BITS):
            return None
        return cls(found.level, exponent - 1, bits)


def mantissas(bits: int) -> tuple[int, int]:
    """The least and the largest mantissa of so many bits, two's complement."""
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise TersenetError(f"a fixed-point mantissa of {bits} bits; {LEAST_BITS} to {MOST_BITS} can be")
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def exponent_for(values: Tensor, bits: int, overflow: float = 0.0) -> int:
    """The least exponent with at most the share `overflow` of the values beyond the range; 0 for zeros alone."""
    sizes = values.detach().abs().flatten()
    allowed = int(overflow * len(sizes))
    largest = float(sizes.kthvalue(len(sizes) - min(allowed, len(sizes) - 1)).values)
    if largest == 0:
        return 0
    _, high = mantissas(bits)
    # The largest value may round down to the largest mantissa.
    exponent = math.ceil(math.log2(largest / (high + 0.5)))
    return min(max(exponent, LEAST_EXPONENT), MOST_EXPONENT)
