"""The LeNets, after LeCun et al. 1998: two of Caffe's, the three-channel form, TensorFlow's.

Layer names are those of the networks that pruning papers publish (ip1, conv1, ...).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LeNet300100(nn.Module):
    """ip1 - ReLU - ip2 - ReLU - ip3: 784-300-100-10, 266,610 parameters."""

    def __init__(self, inputs: int = 784, classes: int = 10) -> None:
        super().__init__()
        self.ip1 = nn.Linear(inputs, 300)
        self.ip2 = nn.Linear(300, 100)
        self.ip3 = nn.Linear(100, classes)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        x = torch.relu(self.ip1(torch.flatten(x, 1)))
        x = torch.relu(self.ip2(x))
        return self.ip3(x)


class LeNet5(nn.Module):
    """Caffe's LeNet-5 for 1x28x28: 20 and 50 filters of 5x5, then 500; 431,080 parameters.

    There is no ReLU after the convolutions: Caffe's example has none, and the published
    weights were trained so.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(50 * 4 * 4, 500)
        self.ip2 = nn.Linear(500, classes)

    def forward(self, x: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        x = torch.relu(self.ip1(torch.flatten(x, 1)))
        return self.ip2(x)


class LeNet5ThreeChannel(nn.Module):
    """The 6/16/120/84/10 form on 3x32x32, a ReLU after each layer but the last; 62,006 parameters."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Float[Tensor, "n 3 32 32"]) -> Float[Tensor, "n classes"]:
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        x = torch.relu(self.fc2(x))
        return self.fc3(x)


class LeNet5TF(nn.Module):
    """TensorFlow's form on 1x28x28: 32 and 64 padded 5x5 filters, then 3136-512-10; 1,663,370 parameters.

    `dropout` acts before the last layer while training; 0 leaves it out, as the neuron-pruning
    comparisons (Pan et al. 2016, arXiv:1606.07326) do for all rows but one.
    """

    def __init__(self, classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(64 * 7 * 7, 512)
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self.fc2 = nn.Linear(512, classes)

    def forward(self, x: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(self.drop(x))
