"""A network that answers through the runtime gives what it gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import tersenet
from tersenet.acceleration import AcceleratedLayer, layers
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
    with pytest.raises(TersenetError, match="without an example"):
        tersenet.accelerate(nn.Linear(2, 2))
    with pytest.raises(TersenetError, match="a str came"):
        tersenet.accelerate("model.terse")
    with pytest.raises(TersenetError, match="expected"):
        fast(torch.rand(1, 1, 8, 9))


class Mine(nn.Module):
    """A module with what no op list holds: a branch on the data."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(2048, 2048)
        self.small = nn.ModuleList([nn.Linear(2048, 3)])

    def forward(self, x):
        x = torch.relu(self.wide(x))
        return self.small[0](x) if x.sum() > 0 else x[..., :3]


def _sparse(layer, share):
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < share)


@pytest.mark.parametrize("shape", [(2048,), (1, 2048), (2, 3, 2048)])
def test_layers_of_any_module_are_swapped_where_that_is_faster(shape, monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", "")
    monkeypatch.setattr("tersenet.acceleration.layers._measured", lambda layer, session, x: (1.0, 2.0))
    torch.manual_seed(0)
    model = Mine()
    _sparse(model.wide, 0.02)
    x = torch.rand(shape)
    if len(shape) == 1:
        # Without a batch axis a layer stays as it is.
        with pytest.warns(UserWarning, match="none of 0"):
            tersenet.accelerate(model, x, threads=1)
        return
    fast = tersenet.accelerate(model, x, threads=1)
    assert isinstance(fast.wide, AcceleratedLayer) and isinstance(model.wide, nn.Linear)
    assert fast.wide.torch_milliseconds == 2000
    assert sum(row.size_bytes for row in fast.wide.session.plan()) < 4 * 2048 * 2048 / 8, "by its non-zeros"
    with torch.no_grad():
        np.testing.assert_allclose(fast(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)
        other = torch.rand(5, 2048)
        np.testing.assert_allclose(fast(other).numpy(), model(other).numpy(), rtol=1e-4, atol=1e-5)


def test_a_slower_layer_is_not_swapped_and_masks_are_taken_as_they_are(monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", "")
    times = {"wide": (0.9, 1.0), "small": (0.96, 1.0)}
    monkeypatch.setattr(
        "tersenet.acceleration.layers._measured",
        lambda layer, session, x: times["small" if layer.out_features == 3 else "wide"],
    )
    torch.manual_seed(0)
    model = Mine()
    prune.l1_unstructured(model.wide, "weight", 0.9)
    x = torch.rand(4, 2048)
    fast = tersenet.accelerate(model, x, threads=1)
    assert isinstance(fast.wide, AcceleratedLayer) and isinstance(fast.small[0], nn.Linear)
    assert hasattr(model.wide, "weight_mask"), "the module that was given stays as it is"
    with torch.no_grad():
        np.testing.assert_allclose(fast(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(TersenetError, match="cannot train"):
        fast.train()


def test_convolutions_of_any_module_are_measured_and_answer_alike(monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", "")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.Flatten())
    x = torch.rand(2, 8, 9, 9)
    measured = []

    def first(layer, session, given):
        measured.append(real(layer, session, given))
        return 1.0, 2.0

    real = layers._measured
    monkeypatch.setattr(layers, "_measured", first)
    fast = tersenet.accelerate(model.eval(), x, threads=1)
    assert len(measured) == 2 and all(ours > 0 and theirs > 0 for ours, theirs in measured)
    with torch.no_grad():
        np.testing.assert_allclose(fast(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)
