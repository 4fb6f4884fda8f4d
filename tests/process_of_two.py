"""A training that one process or several can carry out; run as a program, one of two processes on the CPU.

    python process_of_two.py RANK PORT FOLDER

It leaves FOLDER/RANK, the weights and the curve, and shares the checkpoint FOLDER/x.ckpt. A program of its own, since a
fork of a process that has used OpenMP threads waits for them forever.
"""

import os
import sys
from pathlib import Path

import torch
from torch import nn

from tersenet.training import TrainConfig, fit

CONFIG = TrainConfig(epochs=2, batch_size=8, lr=0.1, keep_best=True, regularise={"l2": 1e-3})


class Examples:
    """Random pictures of three classes, fetched by their numbers."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 1, 6, 6, generator=generator)
        self.y = torch.randint(0, 3, (count,), generator=generator)

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


def train(**more):
    """Weights and curve, as plain values."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    # 19 examples: the last batch has 3, which two processes share as 2 and 1.
    history = fit(model, Examples(19, 0), Examples(9, 1), CONFIG, seed=3, **more)
    return model.state_dict(), history.to_dict()


if __name__ == "__main__":
    rank, port, folder = sys.argv[1:]
    os.environ |= {
        "WORLD_SIZE": "2",
        "RANK": rank,
        "LOCAL_RANK": rank,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "ACCELERATE_USE_CPU": "true",
    }
    torch.set_num_threads(1)
    torch.save(train(checkpoint=Path(folder) / "x.ckpt"), Path(folder) / rank)
