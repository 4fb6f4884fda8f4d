"""AlexNet (Krizhevsky et al. 2012): local response normalisation, two groups, 60,965,224 parameters."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def _response_norm() -> nn.LocalResponseNorm:
    # Section 3.3: n = 5, alpha = 1e-4 on the sum, beta = 0.75, k = 2. torch's alpha multiplies the
    # mean over n, so it is n times larger.
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    """conv1-5 and fc1-3 on 3x227x227; conv2, conv4, conv5 in two groups, as on the two cards of 2012."""

    def __init__(self, classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.norm1 = _response_norm()
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.norm2 = _response_norm()
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc1 = nn.Linear(256 * 6 * 6, 4096)
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(4096, 4096)
        self.drop2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(4096, classes)

    def forward(self, x: Float[Tensor, "n 3 227 227"]) -> Float[Tensor, "n classes"]:
        x = F.max_pool2d(self.norm1(torch.relu(self.conv1(x))), 3, 2)
        x = F.max_pool2d(self.norm2(torch.relu(self.conv2(x))), 3, 2)
        x = torch.relu(self.conv3(x))
        x = torch.relu(self.conv4(x))
        x = F.max_pool2d(torch.relu(self.conv5(x)), 3, 2)
        x = self.drop1(torch.relu(self.fc1(torch.flatten(x, 1))))
        x = self.drop2(torch.relu(self.fc2(x)))
        return self.fc3(x)
