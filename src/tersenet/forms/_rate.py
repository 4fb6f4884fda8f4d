"""What the levels of a weight cost, differentiable in the latent numbers behind them.

READ FIRST
  1. The price is what `range` coding comes near: whether a level is 0 is told by how full its row and its column are,
     the sign costs one bit, and a magnitude k has probability (1 - q) q^(k - 1). Nothing of this is sent: a coder that
     adapts learns it on its way, and `SEEN` places of the mean are counted beforehand for what that costs.
  2. Fullness and q are counted anew from the levels at each call and take no gradient.
  3. Between two levels a price is interpolated, so that its gradient is the difference of theirs: a latent number is
     drawn towards 0 by what the next level there saves. Rows and columns that are nearly empty so become empty, as
     under a group norm, and whole neurons leave.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.forms._grid import matrix_rows
from tersenet.forms._learned_step import LearnedStep
from tersenet.forms.uniform import Uniform

# Levels are -MOST to MOST.
MOST = 1023
# Places of the overall mean that a row or a column begins with.
SEEN = 4.0
# A magnitude is 1 at least; a mean of exactly 1 would make 2 impossible.
LEAST_MEAN = 1.02
LN2 = math.log(2.0)


class _CodeLength(torch.autograd.Function):
    """Bits of the levels nearest to `place` (rows, columns); the gradient is that of interpolated prices."""

    @staticmethod
    def forward(ctx: Any, place: Tensor) -> Tensor:
        level = place.round()
        used = (level != 0).to(place.dtype)
        rows, columns = place.shape
        # No number is read off a tensor here: on a GPU each such read would wait for all that was asked before.
        by_row, by_column, total = used.sum(1), used.sum(0), level.abs().sum()
        count = by_row.sum()
        mean = (count + 0.5) / (place.numel() + 1)
        row_odds = torch.logit((by_row + SEEN * mean) / (columns + SEEN))
        column_odds = torch.logit((by_column + SEEN * mean) / (rows + SEEN))
        odds = row_odds[:, None] + (column_odds - torch.logit(mean))  # logarithms of those of a level that is not 0
        magnitude = ((total + 1) / (count + 1)).clamp(min=LEAST_MEAN)
        more = -torch.log2(1 - 1 / magnitude)  # for each 1 above 1
        first = 1 + torch.log2(magnitude)  # sign, and the 1 itself
        bits = (torch.nn.functional.softplus(odds) - used * odds).sum() / LN2
        bits = bits + first * count + more * (total - count)
        below_one = (first - odds / LN2).clamp(min=0)
        ctx.save_for_backward(torch.where(place.abs() < 1, below_one, more) * place.sign())
        return bits

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope


def code_length(place: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Estimated bits of `place` rounded to integers, a weight of latent numbers in units of its step.

    A weight is the matrix of its first axis by all others; one of one dimension is one row, whose places differ in
    nothing.
    """
    bits: Tensor = _CodeLength.apply(place.reshape(matrix_rows(tuple(place.shape)), -1))  # type: ignore[no-untyped-call]
    return bits


class _Whole(torch.autograd.Function):
    """The nearest integer between bounds; gradients pass straight through inside them."""

    @staticmethod
    def forward(ctx: Any, place: Tensor) -> Tensor:
        ctx.save_for_backward(place.abs() <= MOST)
        return place.round().clamp(-MOST, MOST) + 0.0  # a negative zero becomes the zero that an integer is

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside


class RateStep(LearnedStep):
    """A learned step for latent weights whose levels are paid for by the bit, -1023 to 1023.

    After Oktay et al. 2020, arXiv:1906.06624, section 3: a weight is its level times the step, and levels are those of
    the latent weights in units of the step at the start. So a step that grows scales weights and leaves levels and their
    price alone; were latent weights divided by it, its growth would pay for itself by what it turns to zero, unseen by
    gradients that pass straight through. The prior is the adaptive coder's own, and no table of it is sent.

    markup   float32, (): natural logarithm of what the price of a bit has risen by, where bits have a target
    began    float32, (): natural logarithm of the bits of all weights when they were first counted; 0 before
    """

    markup: Tensor
    began: Tensor

    def __init__(self, start: Uniform) -> None:
        wide = torch.full_like(start.low, MOST)
        super().__init__(Uniform(start.level.long().clamp(-MOST, MOST), start.step, -wide, wide))
        self.register_buffer("markup", torch.zeros(()))
        self.register_buffer("began", torch.zeros(()))

    def place(self, values: Float[Tensor, "..."]) -> Float[Tensor, "m n"]:
        """Latent weights in units of the step at the start, by run."""
        return values.reshape(len(self.start), -1) / self.start[:, None]

    def rate_bits(self, values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        """Estimated bits of what latent weights stand for now; differentiable in them."""
        return code_length(self.place(values).reshape(values.shape))

    def settled(self, values: Tensor) -> Uniform:
        level: Tensor = _Whole.apply(self.place(values))  # type: ignore[no-untyped-call]
        return Uniform(level.to(torch.int64).reshape(values.shape), self.step)

    def forward(self, values: Tensor) -> Tensor:
        level: Tensor = _Whole.apply(self.place(values))  # type: ignore[no-untyped-call]
        return (level * self.learning_step(values.numel())[:, None]).reshape(values.shape)
