"""Small random moves of pictures, a whole batch at once."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from tersenet.training.errors import TrainingError

PIXELS = {"flip_crop": 4, "shift": 2}
"""How far unless told: 4 of CIFAR's 32 (He et al. 2016, arXiv:1512.03385, section 4.2), 2 of MNIST's 28."""


def augment(
    x: Float[Tensor, "n channels height width"],
    kind: str,
    pixels: int | None,
    generator: Generator,
    border: Float[Tensor, "channels 1 1"] | None = None,
) -> Float[Tensor, "n channels height width"]:
    """`x` with each picture moved, and for flip_crop perhaps mirrored, by numbers drawn from `generator`.

    border   the colour that flip_crop moves in from outside, as `x` has colours; zeros unless given
    """
    if kind == "none":
        return x
    if x.ndim != 4:
        raise TrainingError(
            f"augment {kind} moves pictures of shape (channels, height, width); "
            f"these examples have shape {tuple(x.shape[1:])}: use augment none"
        )
    n, channels, height, width = x.shape
    far = PIXELS[kind] if pixels is None else pixels
    # Drawn on the CPU, so that every device sees the same moves.
    down, right = torch.randint(-far, far + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + down).to(x.device)
    columns = (torch.arange(width) + right).to(x.device)
    if kind == "flip_crop":
        flip = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(flip.to(x.device), columns.flip(1), columns) + far
        rows = rows + far
        outside = x.new_zeros(channels, 1, 1) if border is None else border.to(x)
        inside, x = x, outside.expand(n, channels, height + 2 * far, width + 2 * far).clone()
        x[:, :, far : far + height, far : far + width] = inside
    else:
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    picture = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return x[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]
