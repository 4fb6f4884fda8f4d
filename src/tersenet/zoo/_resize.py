"""Bilinear resize as Pillow does it, for squares to the bit: shrinking averages what each new pixel covers.

The published ImageNet networks were measured on images that Pillow had resized. Its 8-bit arithmetic
is whole numbers (weights times 2^22, a rounding after each axis); here those are sums in float64, which
holds every one of them exactly, so order and machine do not matter.
"""

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

WEIGHT_BITS = 22  # 8 bits of pixel and 2 of headroom leave 22 of 32


def bilinear_weights(before: int, after: int) -> Float64[Tensor, "after before"]:
    """Each new sample's weights on the old ones: a triangle as wide as the step, centres aligned."""
    step = before / after
    support = max(step, 1.0)
    centre = (torch.arange(after, dtype=torch.float64) + 0.5) * step
    position = torch.arange(before, dtype=torch.float64) + 0.5
    weights = (1 - (position - centre[:, None]).abs() / support).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def resize(x: Shaped[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c side side"]:
    """Images at side x side, float32; uint8 ones come out as whole numbers."""
    across, down = bilinear_weights(x.shape[3], side), bilinear_weights(x.shape[2], side)
    if x.dtype == torch.uint8:
        x = _rounded(x.double() @ _whole(across).T)
        return _rounded(_whole(down) @ x).float()
    return (down @ (x.double() @ across.T)).float()


def _whole(weights: Float64[Tensor, "after before"]) -> Float64[Tensor, "after before"]:
    return (weights * 2**WEIGHT_BITS + 0.5).floor()


def _rounded(sums: Float64[Tensor, "n c h w"]) -> Float64[Tensor, "n c h w"]:
    return ((sums + 2 ** (WEIGHT_BITS - 1)) / 2**WEIGHT_BITS).floor().clamp(0, 255)
