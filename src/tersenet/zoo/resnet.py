"""ResNets for CIFAR (He et al. 2015, arXiv:1512.03385, section 4.2), depth 6n + 2, option A shortcuts.

State-dict names are those of the weights in common use: conv1, bn1, layer1.0.conv1, ..., linear.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.zoo._init import he_init


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut that has no parameters."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.extra = (width - channels) // 2

    def shortcut(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """Option A: every second pixel, and zero channels evenly on both sides."""
        if self.stride == 1 and self.extra == 0:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A stem of 16 filters, then three stages of n blocks with 16, 32 and 64."""

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise TersenetError(f"a CIFAR ResNet has depth 6n + 2 (8, 14, 20, ...); {depth} came")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.linear = nn.Linear(64, classes)
        he_init(self)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def _stage(channels: int, width: int, stride: int, blocks: int) -> nn.Sequential:
    first = Block(channels, width, stride)
    return nn.Sequential(first, *(Block(width, width, 1) for _ in range(blocks - 1)))


def resnet20(classes: int = 10) -> ResNet:
    """269,722 parameters."""
    return ResNet(20, classes)


def resnet32(classes: int = 10) -> ResNet:
    """464,154 parameters."""
    return ResNet(32, classes)


def resnet44(classes: int = 10) -> ResNet:
    """658,586 parameters."""
    return ResNet(44, classes)


def resnet56(classes: int = 10) -> ResNet:
    """853,018 parameters."""
    return ResNet(56, classes)


def resnet110(classes: int = 10) -> ResNet:
    """1,727,962 parameters."""
    return ResNet(110, classes)
