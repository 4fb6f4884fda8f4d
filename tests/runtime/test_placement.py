"""Values that are put together where they are made, at a batch of 1, and copied at others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tersenet
import tersenet.runtime as runtime


class Joined(nn.Module):
    """Parts that are read again later, joined twice, joined after joining, or not computed at all."""

    def __init__(self, sort: str):
        super().__init__()
        self.sort = sort
        self.a, self.b, self.c = (nn.Conv2d(3, width, 3, padding=1) for width in (4, 5, 6))
        self.d = nn.Conv2d(9, 7, 1)

    def forward(self, x):
        a, b = self.a(x), self.b(x).relu()
        ab = torch.cat([a, b], 1)
        if self.sort == "plain":
            return ab
        if self.sort == "read again":
            return torch.cat([a.sigmoid(), b.tanh()], 1) + ab
        if self.sort == "twice":
            return torch.cat([b, a, b], 1) + torch.cat([self.d(ab)[:, :5], ab], 1)
        if self.sort == "nested":
            return torch.cat([self.d(ab), ab, self.c(x)], 1).mul(2)
        if self.sort == "an input":
            return torch.cat([x, a], 1)
        if self.sort == "reshaped":
            return torch.cat([a.flatten(1), b.flatten(1)], 1).tanh()
        if self.sort == "last axis":
            return torch.cat([a, a.relu()], 3)
        return torch.cat([a.flatten(1), ab.flatten(1)], 1), ab  # both outputs of the network


@pytest.mark.parametrize(
    "sort", ["plain", "read again", "twice", "nested", "an input", "reshaped", "last axis", "outputs"]
)
def test_joined_values_are_what_torch_joins(sort, tmp_path):
    torch.manual_seed(0)
    network = Joined(sort).eval()
    path = tmp_path / "joined.terse"
    tersenet.save(tersenet.capture(network, torch.zeros(2, 3, 6, 5)), path)
    session = runtime.open(path, threads=1)
    for batch in (1, 3, 1):
        x = torch.randn(batch, 3, 6, 5)
        with torch.no_grad():
            truth = network(x)
        ours = session(x.numpy())
        for one, true in zip(ours, truth) if isinstance(truth, tuple) else [(ours, truth)]:
            np.testing.assert_allclose(one, true.numpy(), atol=1e-5)
