"""MobileNetV1 (arXiv:1704.04861) and V2 (arXiv:1801.04381) as edge devices ship them.

BatchNorm is folded into the convolutions, padding is TensorFlow's "same", activations are ReLU6,
and the classifier has 1001 outputs of which the first, background, is dropped.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.zoo._same import same

# Outputs at width 1 and stride of the 13 separable blocks of V1 (table 1).
V1_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
# Expansion, outputs, repeats, first stride of the stages of V2 (table 2).
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Separable(nn.Module):
    """A 3x3 depthwise convolution, then a 1x1, ReLU6 after both."""

    def __init__(self, channels: int, width: int, stride: int, size: int) -> None:
        super().__init__()
        self.pad, padding = same(size, 3, stride)
        self.depthwise = nn.Conv2d(channels, channels, 3, stride=stride, padding=padding, groups=channels)
        self.pointwise = nn.Conv2d(channels, width, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        return F.relu6(self.pointwise(F.relu6(self.depthwise(self.pad(x)))))


class MobileNetV1(nn.Module):
    """conv0, block1-13, classifier; `width` scales the channels, `resolution` is the input's side."""

    def __init__(self, width: float = 1.0, resolution: int = 224, classes: int = 1000) -> None:
        super().__init__()
        channels, size = max(8, int(32 * width)), resolution
        self.pad, padding = same(size, 3, 2)
        self.conv0 = nn.Conv2d(3, channels, 3, stride=2, padding=padding)
        size = -(-size // 2)
        for number, (outputs, stride) in enumerate(V1_BLOCKS, 1):
            outputs = max(8, int(outputs * width))
            self.add_module(f"block{number}", Separable(channels, outputs, stride, size))
            channels, size = outputs, -(-size // stride)
        self.classifier = nn.Conv2d(channels, 1 + classes, 1)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        x = F.relu6(self.conv0(self.pad(x)))
        for number in range(1, len(V1_BLOCKS) + 1):
            x = self.get_submodule(f"block{number}")(x)
        return _classify(self.classifier, x)


class Inverted(nn.Module):
    """1x1 up, 3x3 depthwise, 1x1 down without activation, added to the input where shapes agree."""

    def __init__(self, channels: int, width: int, expansion: int, stride: int, size: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = nn.Conv2d(channels, inner, 1) if expansion > 1 else None
        self.pad, padding = same(size, 3, stride)
        self.depthwise = nn.Conv2d(inner, inner, 3, stride=stride, padding=padding, groups=inner)
        self.project = nn.Conv2d(inner, width, 1)
        self.adds = stride == 1 and channels == width

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(self.pad(y))))
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """conv0, block0-16, conv_last, classifier; 3,489,097 parameters at width 1."""

    def __init__(self, width: float = 1.0, resolution: int = 224, classes: int = 1000) -> None:
        super().__init__()
        channels, size = _multiple_of_8(32 * width), resolution
        self.pad, padding = same(size, 3, 2)
        self.conv0 = nn.Conv2d(3, channels, 3, stride=2, padding=padding)
        size = -(-size // 2)
        self.blocks = 0
        for expansion, outputs, repeats, first_stride in V2_STAGES:
            outputs = _multiple_of_8(outputs * width)
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                self.add_module(f"block{self.blocks}", Inverted(channels, outputs, expansion, stride, size))
                channels, size = outputs, -(-size // stride)
                self.blocks += 1
        last = _multiple_of_8(1280 * max(1.0, width))
        self.conv_last = nn.Conv2d(channels, last, 1)
        self.classifier = nn.Conv2d(last, 1 + classes, 1)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        x = F.relu6(self.conv0(self.pad(x)))
        for number in range(self.blocks):
            x = self.get_submodule(f"block{number}")(x)
        return _classify(self.classifier, F.relu6(self.conv_last(x)))


def _classify(classifier: nn.Conv2d, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
    """Global average, 1x1 classifier, and output 0 (background) dropped."""
    return torch.flatten(classifier(F.adaptive_avg_pool2d(x, 1)), 1)[:, 1:]


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8 that is not more than 10 % below, as V2's own code rounds widths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_v1_025_128(classes: int = 1000) -> MobileNetV1:
    """Width 0.25 at 128 pixels: 467,593 parameters."""
    return MobileNetV1(0.25, 128, classes)


def mobilenet_v1_075_192(classes: int = 1000) -> MobileNetV1:
    """Width 0.75 at 192 pixels: 2,578,121 parameters."""
    return MobileNetV1(0.75, 192, classes)
