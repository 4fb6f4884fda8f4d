"""Small data that is fetched by number, as the zoo's splits are."""

from __future__ import annotations

import pytest
import torch


class Memory:
    """Examples in memory."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


@pytest.fixture
def points():
    def make(n=32, features=4, classes=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, features, generator=generator)
        return Memory(x, torch.randint(0, classes, (n,), generator=generator))

    return make


@pytest.fixture
def pictures():
    def make(n=9, side=8, channels=1, seed=0):
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(n, channels, side, side, generator=generator) + 1
        return Memory(x, torch.arange(n) % 3)

    return make


@pytest.fixture
def linear():
    def make(seed, inputs=4, outputs=3):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return torch.nn.Linear(inputs, outputs)

    return make
