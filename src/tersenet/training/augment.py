"""Small random moves of pictures, a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from tersenet.training.config import AFFINE, Affine
from tersenet.training.devices import sent
from tersenet.training.errors import TrainingError

PIXELS = {"flip": 0, "crop": 4, "flip_crop": 4, "shift": 2}
"""How far unless told: 4 of CIFAR's 32 (He et al. 2016, arXiv:1512.03385, section 4.2), 2 of MNIST's 28."""


@dataclass(frozen=True)
class Moves:
    """What was drawn for n pictures that move by whole pixels.

    far     pixels that a picture moves at most
    down    rows, right columns that each is moved by; flip whether it is mirrored, for the flips
    """

    kind: str
    far: int
    down: Int[Tensor, "n 1"]
    right: Int[Tensor, "n 1"]
    flip: Bool[Tensor, "n 1"] | None

    def take(self, rows: Any) -> Moves:
        """Those of some of the pictures."""
        flip = None if self.flip is None else self.flip[rows]
        return Moves(self.kind, self.far, self.down[rows], self.right[rows], flip)


def augment(
    x: Float[Tensor, "n channels height width"],
    kind: str,
    pixels: int | None,
    generator: Generator,
    *,
    affine: Affine = AFFINE,
    border: Float[Tensor, "channels 1 1"] | None = None,
    cutout: int | None = None,
) -> Float[Tensor, "n channels height width"]:
    """`x` with each picture moved, for the flips perhaps mirrored, and cut, by numbers drawn from `generator`.

    border   the colour that crop and flip_crop move in from outside, as `x` has colours; zeros unless given
    cutout   side of the square that each picture loses, None for none
    """
    if kind != "none":
        check_pictures(x, kind)
    if kind in ("affine", "flip_affine"):
        if kind == "flip_affine":
            x = move(x, draw_moves(len(x), "flip", None, generator))
        x = turned(x, affine, generator)
    elif kind != "none":
        x = move(x, draw_moves(len(x), kind, pixels, generator), border)
    return x if cutout is None else cut(x, cutout, generator)


def check_pictures(x: Tensor, kind: str) -> None:
    """Refuse what is not a batch of pictures."""
    if x.ndim != 4:
        raise TrainingError(
            f"augment {kind} moves pictures of shape (channels, height, width); "
            f"these examples have shape {tuple(x.shape[1:])}: use augment none"
        )


def draw_moves(n: int, kind: str, pixels: int | None, generator: Generator) -> Moves:
    """Moves of n pictures by whole pixels, drawn on the CPU, so that every device sees the same."""
    far = PIXELS[kind] if pixels is None else pixels
    down, right = torch.randint(-far, far + 1, (2, n, 1), generator=generator)
    flip = torch.rand(n, 1, generator=generator) < 0.5 if kind in ("flip", "flip_crop") else None
    return Moves(kind, far, down, right, flip)


def move(
    x: Float[Tensor, "n channels height width"],
    moves: Moves,
    border: Float[Tensor, "channels 1 1"] | None = None,
) -> Float[Tensor, "n channels height width"]:
    """Each picture moved by what was drawn for it; what comes in is `border`, zeros unless given, or for shift the edge."""
    check_pictures(x, moves.kind)
    n, channels, height, width = x.shape
    rows = torch.arange(height) + moves.down
    columns = torch.arange(width) + moves.right
    if moves.flip is not None:
        columns = torch.where(moves.flip, columns.flip(1), columns)
    rows, columns = sent(rows, x.device), sent(columns, x.device)
    if moves.kind == "shift":
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    else:
        far = moves.far
        rows, columns = rows + far, columns + far
        outside = x.new_zeros(channels, 1, 1) if border is None else sent(border.to(x.dtype), x.device)
        inside, x = x, outside.expand(n, channels, height + 2 * far, width + 2 * far).clone()
        x[:, :, far : far + height, far : far + width] = inside
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
    grid = F.affine_grid(sent(theta.to(x.dtype), x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def cut(
    x: Float[Tensor, "n channels height width"], side: int, generator: Generator
) -> Float[Tensor, "n channels height width"]:
    """Each picture with a square of zeros, its middle anywhere in the picture (DeVries and Taylor 2017,
    arXiv:1708.04552, section 3.2): part of it may lie outside.
    """
    if x.ndim != 4:
        raise TrainingError(
            f"cutout takes squares out of pictures of shape (channels, height, width); these examples have shape "
            f"{tuple(x.shape[1:])}: drop it"
        )
    n, _, height, width = x.shape
    first = [torch.randint(0, size, (n, 1), generator=generator) - side // 2 for size in (height, width)]
    rows, columns = (
        (torch.arange(size) >= start) & (torch.arange(size) < start + side)
        for size, start in zip((height, width), first, strict=True)
    )
    rows, columns = sent(rows, x.device), sent(columns, x.device)
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
