"""Training in fixed point, dynamic or not, after Courbariaux et al. 2014, arXiv:1412.7024, sections 5 to 7.

READ FIRST
  1. Numbers of a group (a layer's weights, its inputs, the gradients of its outputs) share one exponent. All of it is
     in buffers, so that a training can be stopped and gone on with.
  2. Weights that learn are latent, in float32; what is computed with them is rounded.
  3. Groups without a range of their own yet take that of the first numbers they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.forms import FixedPoint, Latent
from tersenet.forms.fixed_point import LEAST_EXPONENT, MOST_EXPONENT, exponent_for, mantissas
from tersenet.forms.latent import Quantiser
from tersenet.graph import Around, Network, WeightedLayer
from tersenet.methods.latent import attach_whole

# The paper's largest rate of overflow (section 7), and how many training steps go by between two looks at it:
# 10,000 examples in the paper, in batches of 100.
MOST_OVERFLOW = 0.0001
STEPS = 100


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Bits of each kind of number, sign included; None is float32."""

    weights: int
    inputs: int | None = None
    gradients: int | None = None


class Exponent(nn.Module):
    """The exponent of one group of numbers.

    value                   int64; 2^value is the step
    known                   whether it has a value
    seen, over, over_half   float64: numbers since the last look, those beyond the range, those beyond half of it
    steps                   int64: training steps since the last look
    """

    value: Tensor
    known: Tensor
    seen: Tensor
    over: Tensor
    over_half: Tensor
    steps: Tensor

    def __init__(self, bits: int, value: int | None = None) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("value", torch.tensor(value or 0, dtype=torch.int64))
        self.register_buffer("known", torch.tensor(value is not None))
        for name in ("seen", "over", "over_half"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def rounded(self, numbers: Tensor) -> Tensor:
        """The nearest numbers of the group's format; counted while training."""
        numbers = numbers.detach()
        if not bool(self.known):
            self.value.fill_(exponent_for(numbers.float(), self.bits, MOST_OVERFLOW))
            self.known.fill_(True)
        low, high = mantissas(self.bits)
        mantissa = numbers.float() / 2.0 ** int(self.value)
        if self.training:
            size = mantissa.abs()
            self.seen += size.numel()
            self.over += (size > high + 0.5).sum()
            self.over_half += (size > (high + 0.5) / 2).sum()
        return (mantissa.round().clamp(low, high) * 2.0 ** int(self.value)).to(numbers.dtype)

    def adapt(self, most: float) -> None:
        """Twice the range where more than the share `most` overflowed, half where no more would have (section 7)."""
        if float(self.seen):
            if float(self.over / self.seen) > most:
                self.value += 1
            elif float(self.over_half / self.seen) <= most:
                self.value -= 1
            self.value.clamp_(LEAST_EXPONENT, MOST_EXPONENT)
        for count in (self.seen, self.over, self.over_half, self.steps):
            count.zero_()


class Pointed(Quantiser):
    """Latent weights at an exponent that may move."""

    def __init__(self, exponent: Exponent) -> None:
        super().__init__()
        self.exponent = exponent

    def settled(self, values: Tensor) -> FixedPoint:
        return FixedPoint.fit(values, bits=self.exponent.bits, exponent=int(self.exponent.value)).to(values.device)

    def forward(self, values: Tensor) -> Tensor:
        self.exponent.rounded(values)  # counts
        return super().forward(values)


class _Round(torch.autograd.Function):
    """Numbers rounded on the way there, or gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, there: Exponent | None, back: Exponent | None) -> Tensor:
        ctx.back = back
        return numbers.clone() if there is None else there.rounded(numbers)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] if ctx.back is None else ctx.back.rounded(grads[0]), None, None


class Signals(Around):
    """The inputs of a layer, and the gradients of its outputs, in fixed point."""

    def __init__(self, inputs: Exponent | None, gradients: Exponent | None) -> None:
        super().__init__()
        self.inputs, self.gradients = inputs, gradients

    def before(self, given: Tensor) -> Tensor:
        if self.inputs is None or not given.is_floating_point():
            return given
        rounded: Tensor = _Round.apply(given, self.inputs, None)  # type: ignore[no-untyped-call]
        return rounded

    def after(self, result: Tensor) -> Tensor:
        if self.gradients is None:
            return result
        same: Tensor = _Round.apply(result, None, self.gradients)  # type: ignore[no-untyped-call]
        return same


def common_exponent(network: Network, layers: Sequence[WeightedLayer], bits: Sequence[int]) -> int:
    """One exponent that reaches the largest weight of each layer in its bits."""
    return max(exponent_for(network.dense(layer.weight), width) for layer, width in zip(layers, bits, strict=True))


def train_in_fixed_point(
    network: Network,
    layers: Sequence[WeightedLayer],
    widths: Sequence[Widths],
    *,
    dynamic: bool,
    exponent: int | None = None,
) -> None:
    """Latent weights, and around each layer its signals, from now on rounded; in place.

    dynamic    each group has an exponent of its own, which `adapt` moves; otherwise all share one
    exponent   that one; by default it reaches the largest weight
    """
    around: dict[int, Around] = {}
    fixed = None if dynamic else exponent
    if not dynamic and fixed is None:
        fixed = common_exponent(network, layers, [width.weights for width in widths])
    for layer, width in zip(layers, widths, strict=True):
        attach_whole(network, layer.weight, partial(_latent, bits=width.weights, exponent=fixed))
        inputs, gradients = (
            None if bits is None else Exponent(bits, fixed) for bits in (width.inputs, width.gradients)
        )
        if inputs is not None or gradients is not None:
            around[layer.index] = Signals(inputs, gradients)
    network.put_around(around)


def _latent(weight: Tensor, *, bits: int, exponent: int | None) -> Latent:
    return Latent(weight, Pointed(Exponent(bits, exponent_for(weight, bits) if exponent is None else exponent)))


def adapt(network: nn.Module, most: float = MOST_OVERFLOW) -> None:
    """Called after each step of training: at every hundredth, exponents follow their numbers."""
    for exponent in network.modules():
        if isinstance(exponent, Exponent):
            exponent.steps += 1
            if int(exponent.steps) >= STEPS:
                exponent.adapt(most)
