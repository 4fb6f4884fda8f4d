"""Three classes of points, the last inputs weak: a split as the zoo has them, for tests of what trains."""

from __future__ import annotations

import torch
from torch import nn


class Blobs:
    """96 points of 12 numbers, the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self.y = torch.arange(96) % 3
        noise = torch.randn(96, 12, generator=torch.Generator().manual_seed(seed))
        self.x = (noise + 2 * nn.functional.one_hot(self.y, 12)) * torch.linspace(2, 0.01, 12)

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]
