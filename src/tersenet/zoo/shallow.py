"""Shallow students after Ba and Caruana 2014, arXiv:1312.6184: one wide hidden layer, at a budget of parameters.

Between the input, or the pictures of up to three convolutions, and the hidden layer may lie a linear bottleneck, a
layer without activation, which makes the width cheap ("Speeding-up Mimic Learning by Introducing a Linear Layer").
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.errors import TersenetError

MOST_CONVOLUTIONS = 3
KERNEL = 5
# A budget is met from below, by at most this share of it.
SHARE_LEFT = 0.01


class Shallow(nn.Module):
    """conv1.. - bottleneck - hidden - ReLU - output, with as many hidden units as `parameters` allow.

    Each convolution has `filters` padded 5x5 filters, a ReLU and a 2x2 max-pool behind it.

    parameters    the most that the whole network may have; it has at most 1 % fewer, or is refused
    convs         0 to 3
    bottleneck    outputs of the linear layer before the hidden one; 0: none
    """

    def __init__(
        self,
        parameters: int,
        input_shape: tuple[int, ...],
        classes: int = 10,
        *,
        convs: int = 0,
        filters: int = 32,
        bottleneck: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= convs <= MOST_CONVOLUTIONS:
            raise TersenetError(f"a shallow network of {convs} convolutions; it has 0 to {MOST_CONVOLUTIONS}")
        if bottleneck < 0 or filters < 1:
            raise TersenetError(f"a bottleneck of {bottleneck} and {filters} filters; at least 0 and 1 are expected")
        features = math.prod(input_shape)
        if convs:
            channels, height, width = _picture(input_shape, convs)
            for number in range(1, convs + 1):
                self.add_module(f"conv{number}", nn.Conv2d(channels, filters, KERNEL, padding=KERNEL // 2))
                channels, height, width = filters, height // 2, width // 2
            features = channels * height * width
        if bottleneck:
            # Without a bias: the hidden layer's would take it in.
            self.bottleneck = nn.Linear(features, bottleneck, bias=False)
            features = bottleneck
        self.convs = convs
        spent = sum(parameter.numel() for parameter in self.parameters())
        hidden = _units(parameters, spent + classes, features + 1 + classes)
        self.hidden = nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        for number in range(1, self.convs + 1):
            x = F.max_pool2d(torch.relu(self.get_submodule(f"conv{number}")(x)), 2)
        x = torch.flatten(x, 1)
        if hasattr(self, "bottleneck"):
            x = self.bottleneck(x)
        return self.output(torch.relu(self.hidden(x)))


def shallow_mnist(parameters: int = 100_000, bottleneck: int = 0, **options: int) -> Shallow:
    """One hidden layer on 1x28x28."""
    return Shallow(parameters, (1, 28, 28), bottleneck=bottleneck, **options)


def shallow_conv_mnist(
    parameters: int = 100_000, convs: int = 1, filters: int = 16, bottleneck: int = 16, **options: int
) -> Shallow:
    """A convolution, the bottleneck and one hidden layer on 1x28x28."""
    return Shallow(parameters, (1, 28, 28), convs=convs, filters=filters, bottleneck=bottleneck, **options)


def shallow_cifar10(parameters: int = 1_000_000, bottleneck: int = 128, **options: int) -> Shallow:
    """The bottleneck and one hidden layer on 3x32x32."""
    return Shallow(parameters, (3, 32, 32), bottleneck=bottleneck, **options)


def shallow_conv_cifar10(parameters: int = 1_000_000, convs: int = 1, bottleneck: int = 64, **options: int) -> Shallow:
    """A convolution, the bottleneck and one hidden layer on 3x32x32."""
    return Shallow(parameters, (3, 32, 32), convs=convs, bottleneck=bottleneck, **options)


def _picture(shape: tuple[int, ...], convs: int) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape[1:]) < 2**convs:
        raise TersenetError(
            f"inputs of shape {shape} for {convs} convolutions, each of which halves height and width; expected "
            f"(channels, height, width) with sides of {2**convs} or more"
        )
    channels, height, width = shape
    return channels, height, width


def _units(budget: int, fixed: int, each: int) -> int:
    """How many hidden units of `each` parameters the budget has beside those that are `fixed`."""
    units = (budget - fixed) // each
    about = f"a budget of {budget:,} parameters: {fixed:,} do not depend on the width, a hidden unit takes {each:,}"
    if units < 1:
        raise TersenetError(f"{about}; give {fixed + each:,} or more, or a smaller bottleneck, or fewer filters")
    found = fixed + units * each
    if found < (1 - SHARE_LEFT) * budget:
        raise TersenetError(
            f"{about}; {units} of them leave {budget - found:,}, more than 1 %: give {found:,} or {found + each:,}, or "
            "a bottleneck"
        )
    return units
