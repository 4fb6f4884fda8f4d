"""Small random moves of pictures, a whole batch at once."""

from math import radians

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from tersenet.training.config import AFFINE, Affine
from tersenet.training.errors import TrainingError

PIXELS = {"flip": 0, "crop": 4, "flip_crop": 4, "shift": 2}
"""How far unless told: 4 of CIFAR's 32 (He et al. 2016, arXiv:1512.03385, section 4.2), 2 of MNIST's 28."""


def augment(
    x: Float[Tensor, "n channels height width"],
    kind: str,
    pixels: int | None,
    generator: Generator,
    affine: Affine = AFFINE,
) -> Float[Tensor, "n channels height width"]:
    """`x` with each picture moved, and for the flips perhaps mirrored, by numbers drawn from `generator`."""
    if kind == "none":
        return x
    if x.ndim != 4:
        raise TrainingError(
            f"augment {kind} moves pictures of shape (channels, height, width); "
            f"these examples have shape {tuple(x.shape[1:])}: use augment none"
        )
    if kind == "affine":
        return turned(x, affine, generator)
    if kind == "flip_affine":
        return turned(moved(x, "flip", 0, generator), affine, generator)
    return moved(x, kind, PIXELS[kind] if pixels is None else pixels, generator)


def moved(
    x: Float[Tensor, "n channels height width"], kind: str, far: int, generator: Generator
) -> Float[Tensor, "n channels height width"]:
    """By whole pixels; what comes in is zeros, or for shift the edge repeated."""
    n, channels, height, width = x.shape
    # Drawn on the CPU, so that every device sees the same moves.
    down, right = torch.randint(-far, far + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + down).to(x.device)
    columns = (torch.arange(width) + right).to(x.device)
    if kind == "shift":
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    else:
        if kind in ("flip", "flip_crop"):
            flip = torch.rand(n, 1, generator=generator) < 0.5
            columns = torch.where(flip.to(x.device), columns.flip(1), columns)
        rows, columns = rows + far, columns + far
        x = F.pad(x, (far, far, far, far))
    picture = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return x[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]


def turned(
    x: Float[Tensor, "n channels height width"], affine: Affine, generator: Generator
) -> Float[Tensor, "n channels height width"]:
    """Turned, grown, slanted and moved about the middle, between pixels bilinear, edges repeated."""
    n, _, height, width = x.shape
    draws = 2 * torch.rand(5, n, generator=generator) - 1
    turn, shear = radians(affine.degrees) * draws[0], torch.tan(radians(affine.shear) * draws[1])
    size = 1 + affine.scale * draws[2]
    cosine, sine = turn.cos() / size, turn.sin() / size
    # From a place in the result to the place it comes from, both from the middle: turned and shrunk back, slanted.
    back = torch.stack((cosine - shear * sine, sine + shear * cosine, -sine, cosine), 1).reshape(n, 2, 2)
    # grid_sample counts halves of the width and of the height, pixels are square.
    halves = torch.tensor([width / 2, height / 2])
    theta = torch.cat((back * halves / halves[:, None], (affine.pixels * draws[3:].T / halves)[:, :, None]), 2)
    grid = F.affine_grid(theta.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
