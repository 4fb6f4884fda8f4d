"""TensorFlow's "same" padding, which puts the odd pixel right and below."""

from torch import nn


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis of `size` so that ceil(size / stride) outputs come out."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def same(size: int, kernel: int, stride: int) -> tuple[nn.Module, int]:
    """A layer that pads a square input of `size`, and the padding that the convolution itself takes.

    The sides are known when the network is built, so that it exports; where both are equal the
    convolution pads and the layer does nothing.
    """
    before, after = same_padding(size, kernel, stride)
    if before == after:
        return nn.Identity(), before
    return nn.ZeroPad2d((before, after, before, after)), 0
