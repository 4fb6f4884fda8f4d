"""Small random moves of pictures, a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from tersenet.training.errors import TrainingError

PIXELS = {"flip_crop": 4, "shift": 2}
"""How far unless told: 4 of CIFAR's 32 (He et al. 2016, arXiv:1512.03385, section 4.2), 2 of MNIST's 28."""


@dataclass(frozen=True)
class Moves:
    """What was drawn for n pictures.

    far     pixels that a picture moves at most; for flip_crop it is padded with so many zeros
    down    rows, right columns that each is moved by; flip whether it is mirrored, for flip_crop
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
    x: Float[Tensor, "n channels height width"], kind: str, pixels: int | None, generator: Generator
) -> Float[Tensor, "n channels height width"]:
    """`x` with each picture moved, and for flip_crop perhaps mirrored, by numbers drawn from `generator`."""
    return x if kind == "none" else move(x, draw_moves(len(x), kind, pixels, generator))


def draw_moves(n: int, kind: str, pixels: int | None, generator: Generator) -> Moves:
    """Moves of n pictures, drawn on the CPU, so that every device sees the same."""
    far = PIXELS[kind] if pixels is None else pixels
    down, right = torch.randint(-far, far + 1, (2, n, 1), generator=generator)
    flip = torch.rand(n, 1, generator=generator) < 0.5 if kind == "flip_crop" else None
    return Moves(kind, far, down, right, flip)


def move(x: Float[Tensor, "n channels height width"], moves: Moves) -> Float[Tensor, "n channels height width"]:
    """Each picture moved by what was drawn for it."""
    if x.ndim != 4:
        raise TrainingError(
            f"augment {moves.kind} moves pictures of shape (channels, height, width); "
            f"these examples have shape {tuple(x.shape[1:])}: use augment none"
        )
    n, channels, height, width = x.shape
    rows = (torch.arange(height) + moves.down).to(x.device)
    columns = (torch.arange(width) + moves.right).to(x.device)
    if moves.flip is not None:
        columns = torch.where(moves.flip.to(x.device), columns.flip(1), columns)
    if moves.kind == "flip_crop":
        far = moves.far
        rows, columns = rows + far, columns + far
        x = F.pad(x, (far, far, far, far))
    else:
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    picture = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return x[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]
