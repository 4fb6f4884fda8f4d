"""Small data and small nets that have everything in them that a resumed run could get wrong."""

import pytest
import torch
from torch import nn


class Memory:
    """Random examples in memory, fetched by their numbers as the zoo's splits are."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


def pictures(n, *, classes=3, seed=0, side=6):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, side, side, generator=generator)
    return Memory(x, torch.randint(0, classes, (n,), generator=generator))


def small_net(classes=3):
    """Convolution, BatchNorm, dropout: state in parameters, in buffers and in the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(48, classes),
        )


def state_bytes(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(name="pictures")
def _pictures():
    return pictures


@pytest.fixture(name="small_net")
def _small_net():
    return small_net


@pytest.fixture(name="state_bytes")
def _state_bytes():
    return state_bytes


@pytest.fixture(name="Memory")
def _memory():
    return Memory
