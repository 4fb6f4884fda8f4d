"""A small trained network with a convolution, BatchNorm, a residual stream and two linear layers, and its data."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tersenet.graph import Network, capture


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.inside = nn.Conv2d(6, 5, 3, padding=1)
        self.back = nn.Conv2d(5, 6, 3, padding=1)
        self.hidden = nn.Linear(6 * 4, 12)
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = x + self.back(F.relu(self.inside(x)))
        return self.last(F.relu(self.hidden(F.avg_pool2d(x, 2).flatten(1))))


def pictures(seed: int, count: int = 96) -> tuple[Tensor, Tensor]:
    """A bright quarter of a 4x4 picture says the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 4
    x = torch.randn(count, 1, 4, 4, generator=generator)
    for index, label in enumerate(y.tolist()):
        row, column = 2 * (label // 2), 2 * (label % 2)
        x[index, 0, row : row + 2, column : column + 2] += 1.5
    return x, y


class Examples:
    """Data that is fetched by index, as a split of the zoo is."""

    def __init__(self, seed: int, count: int = 96) -> None:
        self.x, self.y = pictures(seed, count)

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.x[indices], self.y[indices]


@pytest.fixture(scope="session")
def trained() -> Network:
    torch.manual_seed(0)
    model = Small()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    x, y = pictures(0)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return capture(model.eval(), x[:2])


@pytest.fixture
def network(trained: Network) -> Network:
    return trained.clone()


@pytest.fixture(scope="session")
def validate() -> Examples:
    return Examples(1)


@pytest.fixture(scope="session")
def train() -> Examples:
    return Examples(0)
