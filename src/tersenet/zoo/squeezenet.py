"""SqueezeNet 1.0 (Iandola et al. 2016, arXiv:1602.07360), with the layer names of its Caffe model.

The names hold a slash ("fire2/conv1x1_1") because the published Deep-Compressed file and every
table about it name the layers so.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Name: squeeze filters, and expand filters of each of the two kernels (table 1 of the paper).
FIRES = {
    "fire2": (16, 64),
    "fire3": (16, 64),
    "fire4": (32, 128),
    "fire5": (32, 128),
    "fire6": (48, 192),
    "fire7": (48, 192),
    "fire8": (64, 256),
    "fire9": (64, 256),
}
POOL_AFTER = ("fire4", "fire8")


class SqueezeNet(nn.Module):
    """conv1, eight fire modules, conv_final on 3x227x227; 1,248,424 parameters.

    conv_final is padded by 1 and the pools round up, as Caffe has them.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        channels = 96
        for fire, (squeeze, expand) in FIRES.items():
            self.add_module(f"{fire}/conv1x1_1", nn.Conv2d(channels, squeeze, 1))
            self.add_module(f"{fire}/conv1x1_2", nn.Conv2d(squeeze, expand, 1))
            self.add_module(f"{fire}/conv3x3_2", nn.Conv2d(squeeze, expand, 3, padding=1))
            channels = 2 * expand
        self.conv_final = nn.Conv2d(channels, classes, 1, padding=1)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        x = F.max_pool2d(torch.relu(self.conv1(x)), 3, 2, ceil_mode=True)
        for fire in FIRES:
            x = torch.relu(self.get_submodule(f"{fire}/conv1x1_1")(x))
            one = torch.relu(self.get_submodule(f"{fire}/conv1x1_2")(x))
            three = torch.relu(self.get_submodule(f"{fire}/conv3x3_2")(x))
            x = torch.cat((one, three), 1)
            if fire in POOL_AFTER:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = torch.relu(self.conv_final(x))
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
