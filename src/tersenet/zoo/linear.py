"""One linear layer from pixels to classes: the smallest network there is."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Module):
    """fc, on the flattened input; 7,850 parameters at 28x28 and ten classes."""

    def __init__(self, inputs: int = 784, classes: int = 10) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        return self.fc(torch.flatten(x, 1))
