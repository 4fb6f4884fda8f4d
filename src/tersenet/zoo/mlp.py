"""A multilayer perceptron 784-120-80-10."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """fc1 - ReLU - fc2 - ReLU - fc3."""

    def __init__(self, inputs: int = 784, hidden: tuple[int, int] = (120, 80), classes: int = 10) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.fc3 = nn.Linear(hidden[1], classes)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        x = torch.relu(self.fc2(x))
        return self.fc3(x)
