"""Synthetic inputs give BatchNorm the statistics that it keeps, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.calibration import synthetic_batches
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.one, self.two = nn.BatchNorm2d(8), nn.BatchNorm2d(8)

    def forward(self, x):
        x = torch.relu(self.one(self.first(x)))
        return self.two(self.second(x)).mean((2, 3))


def trained() -> tuple[Network, torch.Tensor]:
    """A network whose BatchNorm has seen smooth inputs of their own mean and spread, and such inputs."""
    torch.manual_seed(0)
    model = Small()
    for module in (model.one, model.two):
        module.momentum = None
    with torch.no_grad():
        for _ in range(20):
            model.train()(inputs(64))
    return capture(model.eval(), inputs(2)), inputs(64)


def inputs(n: int) -> torch.Tensor:
    coarse = torch.randn(n, 3, 4, 4) * torch.tensor([2.0, 0.5, 1.0]).reshape(3, 1, 1) + 1.5
    return nn.functional.interpolate(coarse, size=8, mode="bilinear")


def off(network: Network, batch: torch.Tensor) -> float:
    """How far the statistics at each BatchNorm are from those kept, in standard deviations."""
    found = []

    def watcher(position):
        node = network.graph.nodes[position]
        mean, variance = (network.dense(node.get(name).name) for name in ("running_mean", "running_var"))

        def watch(given, result):
            values = given.detach().movedim(1, 0).flatten(1)
            found.append(((values.mean(1) - mean) / variance.sqrt()).abs().mean())
            found.append((values.std(1) / variance.sqrt() - 1).abs().mean())

        return watch

    places = [index for index, node in enumerate(network.graph.nodes) if node.op == "batch_norm"]
    with torch.no_grad():
        network.eval().watch((batch,), {position: watcher(position) for position in places})
    return float(torch.stack(found).mean())


def test_their_statistics_are_near_those_of_the_data_and_those_of_noise_are_not():
    network, real = trained()
    (made,), *rest = synthetic_batches(network, 64, 64, 0)
    assert made.shape == (64, 3, 8, 8) and not rest and not made.requires_grad
    assert off(network, made) < 0.1 < 0.5 < off(network, torch.randn(64, 3, 8, 8))
    assert off(network, real) < 0.1


def test_batches_are_the_same_for_a_seed_and_as_many_as_asked_for():
    network, _ = trained()
    first, again, other = (synthetic_batches(network, 20, 8, seed, steps=3) for seed in (1, 1, 2))
    assert [len(x) for (x,) in first] == [8, 8, 4]
    assert all(torch.equal(x, y) for (x,), (y,) in zip(first, again))
    assert not torch.equal(first[0][0], other[0][0])


def test_the_network_stays_as_it_is():
    network, _ = trained()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    synthetic_batches(network, 8, 8, 0, steps=3)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("model, example, sentence", [
    (nn.Sequential(nn.Linear(4, 2)), torch.zeros(2, 4), "no such BatchNorm"),
    (nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)), torch.zeros(2, 4), "no such BatchNorm"),
    (nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.BatchNorm1d(4)), torch.zeros(2, 1, dtype=torch.int64), "one float32 input"),
])  # fmt: skip
def test_what_keeps_no_statistics_or_takes_no_float_is_refused(model, example, sentence):
    with pytest.raises(TersenetError, match=sentence):
        synthetic_batches(capture(model.eval(), example), 8, 8, 0)
