"""From stored pixels to what a network was trained on: crop, resize, scale, channel order, mean, std."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Applied in the order of the fields; the defaults change nothing but the type.

    crop      side of a centred square, in pixels of the stored image
    resize    side after a bilinear resize of that square, Pillow's to the bit
    channels  RGB as stored, or BGR, the order of Caffe's networks
    scale     factor of the pixels
    mean      subtracted after scaling, one a channel in the order above; empty is 0
    std       divided by, one a channel; empty is 1
    """

    crop: int | None = None
    resize: int | None = None
    channels: str = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR"):
            raise TersenetError(f"preprocess: channel order {self.channels!r} came; it is RGB or BGR")
        for name, side in (("crop", self.crop), ("resize", self.resize)):
            if side is not None and side < 1:
                raise TersenetError(f"preprocess: {name} is {side}; it must be a positive number of pixels")
        if any(value == 0 for value in self.std):
            raise TersenetError("preprocess: a std of 0 came; it divides, so give every channel a positive one")

    def apply(self, x: Tensor) -> Tensor:
        """uint8 or float images (n, c, h, w) to the float32 a network reads."""
        import torch

        from tersenet.zoo._resize import resize

        if self.crop is not None:
            height, width = x.shape[-2:]
            if self.crop > height or self.crop > width:
                raise TersenetError(
                    f"preprocess: a centre of {self.crop} pixels was asked of images of {height}x{width}; "
                    "use larger images or another network"
                )
            top, left = (height - self.crop) // 2, (width - self.crop) // 2
            x = x[..., top : top + self.crop, left : left + self.crop]
        if self.resize is not None and x.shape[-2:] != (self.resize, self.resize):
            x = resize(x, self.resize)
        x = x.to(torch.float32)
        if self.channels == "BGR":
            x = x.flip(1)
        if self.scale != 1.0:
            x = x * self.scale
        if self.mean:
            x = x - self._column(self.mean, "mean", x)
        if self.std:
            x = x / self._column(self.std, "std", x)
        return x

    def black(self, channels: int) -> Tensor:
        """What a stored pixel of zeros becomes, (channels, 1, 1): the border of pictures that are padded as stored."""
        import torch

        return replace(self, crop=None, resize=None).apply(torch.zeros(1, channels, 1, 1))[0]

    def output_shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one example after `apply`, for one stored as (c, h, w)."""
        side = self.resize or self.crop
        return stored if side is None or len(stored) != 3 else (stored[0], side, side)

    @staticmethod
    def _column(values: tuple[float, ...], name: str, x: Tensor) -> Tensor:
        if len(values) != x.shape[1]:
            raise TersenetError(
                f"preprocess: {len(values)} values of {name} for images of {x.shape[1]} channels; give one a channel"
            )
        return x.new_tensor(values).reshape(1, -1, 1, 1)
