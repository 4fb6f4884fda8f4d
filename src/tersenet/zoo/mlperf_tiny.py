"""The MLPerf Tiny networks (Banbury et al. 2021, arXiv:2106.07597) under their Keras layer names.

BatchNorm has Keras's eps 1e-3 and momentum 0.99 (torch counts the other way round: 0.01).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.zoo._same import same

BN_EPS = 1e-3
BN_MOMENTUM = 0.01


def _keras(name: str, index: int) -> str:
    """Keras numbers the layers of one kind: name, name_1, name_2, ..."""
    return name if index == 0 else f"{name}_{index}"


class ResNet8(nn.Module):
    """Three residual stacks of 16, 32, 64 filters on RGB 0-255, not scaled; 78,186 parameters."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        for index, width in enumerate((16, 16, 16, 32, 32, 64, 64)):
            self.add_module(_keras("batch_normalization", index), _batch_norm_2d(width))
        self.conv2d = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2d_1 = nn.Conv2d(16, 16, 3, padding=1)
        self.conv2d_2 = nn.Conv2d(16, 16, 3, padding=1)
        self.pad_3, padding = same(32, 3, 2)
        self.conv2d_3 = nn.Conv2d(16, 32, 3, stride=2, padding=padding)
        self.conv2d_4 = nn.Conv2d(32, 32, 3, padding=1)
        self.conv2d_5 = nn.Conv2d(16, 32, 1, stride=2)
        self.pad_6, padding = same(16, 3, 2)
        self.conv2d_6 = nn.Conv2d(32, 64, 3, stride=2, padding=padding)
        self.conv2d_7 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2d_8 = nn.Conv2d(32, 64, 1, stride=2)
        self.dense = nn.Linear(64, classes)

    def _norm(self, index: int, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return self.get_submodule(_keras("batch_normalization", index))(x)

    def forward(self, x: Float[Tensor, "n 3 32 32"]) -> Float[Tensor, "n classes"]:
        x = torch.relu(self._norm(0, self.conv2d(x)))
        y = torch.relu(self._norm(1, self.conv2d_1(x)))
        x = torch.relu(x + self._norm(2, self.conv2d_2(y)))
        y = torch.relu(self._norm(3, self.conv2d_3(self.pad_3(x))))
        x = torch.relu(self.conv2d_5(x) + self._norm(4, self.conv2d_4(y)))
        y = torch.relu(self._norm(5, self.conv2d_6(self.pad_6(x))))
        x = torch.relu(self.conv2d_8(x) + self._norm(6, self.conv2d_7(y)))
        return self.dense(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class VWWMobileNet(nn.Module):
    """MobileNetV1 of width 0.25 on 96x96 RGB / 255: no person (0) or person (1); 216,322 parameters."""

    # Filters and stride of the 13 separable blocks.
    BLOCKS = (
        (16, 1),
        (32, 2),
        (32, 1),
        (64, 2),
        (64, 1),
        (128, 2),
        (128, 1),
        (128, 1),
        (128, 1),
        (128, 1),
        (128, 1),
        (256, 2),
        (256, 1),
    )

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        channels, size = 8, 96
        self.pad, padding = same(size, 3, 2)
        self.conv2d = nn.Conv2d(3, channels, 3, stride=2, padding=padding)
        self.batch_normalization = _batch_norm_2d(channels)
        size //= 2
        for index, (width, stride) in enumerate(self.BLOCKS):
            pad, padding = same(size, 3, stride)
            depthwise = nn.Conv2d(channels, channels, 3, stride=stride, padding=padding, groups=channels)
            self.add_module(f"pad_{index}", pad)
            self.add_module(_keras("depthwise_conv2d", index), depthwise)
            self.add_module(f"batch_normalization_{2 * index + 1}", _batch_norm_2d(channels))
            self.add_module(f"conv2d_{index + 1}", nn.Conv2d(channels, width, 1))
            self.add_module(f"batch_normalization_{2 * index + 2}", _batch_norm_2d(width))
            channels, size = width, -(-size // stride)
        self.dense = nn.Linear(channels, classes)

    def forward(self, x: Float[Tensor, "n 3 96 96"]) -> Float[Tensor, "n classes"]:
        x = torch.relu(self.batch_normalization(self.conv2d(self.pad(x))))
        for index in range(len(self.BLOCKS)):
            x = self.get_submodule(_keras("depthwise_conv2d", index))(self.get_submodule(f"pad_{index}")(x))
            x = torch.relu(self.get_submodule(f"batch_normalization_{2 * index + 1}")(x))
            x = self.get_submodule(f"conv2d_{index + 1}")(x)
            x = torch.relu(self.get_submodule(f"batch_normalization_{2 * index + 2}")(x))
        return self.dense(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class AD01Autoencoder(nn.Module):
    """Dense 640-128x4-8-128x4-640, BatchNorm and ReLU after all but the last; 267,928 parameters."""

    WIDTHS = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)

    def __init__(self) -> None:
        super().__init__()
        self.layers = len(self.WIDTHS) - 1
        for index in range(self.layers):
            inputs, outputs = self.WIDTHS[index], self.WIDTHS[index + 1]
            self.add_module(_keras("dense", index), nn.Linear(inputs, outputs))
            if index < self.layers - 1:
                norm = nn.BatchNorm1d(outputs, eps=BN_EPS, momentum=BN_MOMENTUM)
                self.add_module(_keras("batch_normalization", index), norm)

    def forward(self, x: Float[Tensor, "n 640"]) -> Float[Tensor, "n 640"]:
        for index in range(self.layers):
            x = self.get_submodule(_keras("dense", index))(x)
            if index < self.layers - 1:
                x = torch.relu(self.get_submodule(_keras("batch_normalization", index))(x))
        return x


def ad01_windows(log_mel: Float[Tensor, "frames 128"]) -> Float[Tensor, "windows 640"]:
    """Five consecutive frames side by side, at every position: what the autoencoder reads."""
    return log_mel.unfold(0, 5, 1).transpose(1, 2).flatten(1)


def anomaly_score(model: nn.Module, log_mel: Float[Tensor, "frames 128"]) -> float:
    """The benchmark's score of one recording: mean squared error over all its windows."""
    windows = ad01_windows(log_mel)
    with torch.no_grad():
        return float((model(windows) - windows).square().mean())


def _batch_norm_2d(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=BN_EPS, momentum=BN_MOMENTUM)
