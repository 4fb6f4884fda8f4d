"""Pictures prepared for one network, as another one reads them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.zoo.preprocess import Preprocess


class Rescaled(nn.Module):
    """x * factor + shift for each channel, in the other order where the two networks differ in it."""

    factor: Tensor
    shift: Tensor

    def __init__(self, given: Preprocess, wanted: Preprocess) -> None:
        super().__init__()
        if (given.crop, given.resize) != (wanted.crop, wanted.resize):
            raise TersenetError(
                f"pictures cropped to {given.crop} and resized to {given.resize} came, where {wanted.crop} and "
                f"{wanted.resize} are read; what was cut away cannot be put back: take networks of one input size"
            )
        self.reverse = given.channels != wanted.channels
        mean, std = _columns(given.mean, 0.0, self.reverse), _columns(given.std, 1.0, self.reverse)
        ratio = wanted.scale / given.scale
        wanted_std = _columns(wanted.std, 1.0, False)
        self.register_buffer("factor", (std * ratio / wanted_std).float())
        self.register_buffer("shift", ((mean * ratio - _columns(wanted.mean, 0.0, False)) / wanted_std).float())

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return (x.flip(1) if self.reverse else x) * self.factor + self.shift


def rescaled(given: Preprocess, wanted: Preprocess) -> Rescaled | None:
    """What turns inputs prepared as `given` into those prepared as `wanted`; None where they are the same."""
    return None if given == wanted else Rescaled(given, wanted)


def _columns(values: tuple[float, ...], empty: float, reverse: bool) -> Tensor:
    """One number a channel, (c, 1, 1) of float64; a single one where none are given."""
    found = torch.tensor(values or (empty,), dtype=torch.float64).reshape(-1, 1, 1)
    return found.flip(0) if reverse else found
