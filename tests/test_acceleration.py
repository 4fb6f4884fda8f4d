"""A network that answers through the runtime gives what it gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tersenet
from tersenet.errors import TersenetError


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", "")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4)).eval()
    return tersenet.capture(model, torch.zeros(2, 1, 8, 8))


def test_answers_are_those_of_the_network(network):
    fast = tersenet.accelerate(network, threads=1)
    for batch in (1, 5):
        x = torch.rand(batch, 1, 8, 8)
        with torch.no_grad():
            np.testing.assert_allclose(fast(x).numpy(), network(x).numpy(), rtol=1e-5, atol=1e-6)
    assert any(row.kernel for row in fast.session.plan())


def test_what_it_cannot_do_is_refused(network):
    fast = tersenet.accelerate(network)
    with pytest.raises(TersenetError, match="no gradients"):
        fast(torch.rand(1, 1, 8, 8, requires_grad=True))
    with pytest.raises(TersenetError, match="cannot train"):
        fast.train()
    with pytest.raises(TersenetError, match="capture it first"):
        tersenet.accelerate(nn.Linear(2, 2))
    with pytest.raises(TersenetError, match="expected"):
        fast(torch.rand(1, 1, 8, 9))
