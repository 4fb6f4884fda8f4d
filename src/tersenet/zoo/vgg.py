"""VGG-16 (Simonyan and Zisserman 2014, arXiv:1409.1556, configuration D) and its CIFAR form."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.zoo._init import he_init

# Filters of each convolution, stage by stage; a 2x2 max-pool ends each stage.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
    """conv1_1 ... conv5_3, fc6, fc7, fc8 on 3x224x224; 138,357,544 parameters."""

    def __init__(self, classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.stages: list[list[str]] = []
        channels = 3
        for number, widths in enumerate(STAGES, 1):
            names = [f"conv{number}_{index}" for index in range(1, len(widths) + 1)]
            for name, width in zip(names, widths, strict=True):
                self.add_module(name, nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            self.stages.append(names)
        self.fc6 = nn.Linear(512 * 7 * 7, 4096)
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.drop7 = nn.Dropout(dropout)
        self.fc8 = nn.Linear(4096, classes)
        he_init(self)

    def forward(self, x: Float[Tensor, "n 3 224 224"]) -> Float[Tensor, "n classes"]:
        for names in self.stages:
            for name in names:
                x = torch.relu(self.get_submodule(name)(x))
            x = F.max_pool2d(x, 2)
        x = self.drop6(torch.relu(self.fc6(torch.flatten(x, 1))))
        x = self.drop7(torch.relu(self.fc7(x)))
        return self.fc8(x)


class VGG16Cifar(nn.Module):
    """The 13 convolutions with BatchNorm on 3x32x32, and one linear layer; 14,728,266 parameters."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stages: list[list[str]] = []
        channels = 3
        for number, widths in enumerate(STAGES, 1):
            names = [f"{number}_{index}" for index in range(1, len(widths) + 1)]
            for name, width in zip(names, widths, strict=True):
                self.add_module(f"conv{name}", nn.Conv2d(channels, width, 3, padding=1))
                self.add_module(f"bn{name}", nn.BatchNorm2d(width))
                channels = width
            self.stages.append(names)
        self.fc = nn.Linear(512, classes)
        he_init(self)

    def forward(self, x: Float[Tensor, "n 3 32 32"]) -> Float[Tensor, "n classes"]:
        for names in self.stages:
            for name in names:
                x = self.get_submodule(f"bn{name}")(self.get_submodule(f"conv{name}")(x))
                x = torch.relu(x)
            x = F.max_pool2d(x, 2)
        return self.fc(torch.flatten(x, 1))
