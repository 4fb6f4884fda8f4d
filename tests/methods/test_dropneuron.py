"""Small weights go, and neurons without any input or any output left; the answers are those of the cut network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import Network, capture
from tersenet.methods.dropneuron import Connections, connections, drop_neurons, what_is_left

X = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def _network() -> Network:
    """conv 2-4, BatchNorm, fc 64-6-3, every weight at least 0.1 in magnitude."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(2, 4, 3))
    model.add_module("norm", nn.BatchNorm2d(4))
    model.add_module("act", nn.ReLU())
    model.add_module("flat", nn.Flatten())
    model.add_module("fc1", nn.Linear(64, 6))
    model.add_module("act1", nn.ReLU())
    model.add_module("fc2", nn.Linear(6, 3))
    network = capture(model, X).eval()
    with torch.no_grad():
        for name in ("conv.weight", "fc1.weight", "fc2.weight"):
            weight = network.dense(name)
            weight.add_(weight.sign() * 0.1)
    return network


def _shrink(network: Network, name: str, where: object) -> None:
    with torch.no_grad():
        network.dense(name)[where] *= 1e-3


def test_neurons_and_filters_that_are_cut_off_leave_and_answers_are_those_of_the_cut_network():
    network = _network()
    _shrink(network, "fc1.weight", 0)  # neuron 0 has no input left, and what it says is constant
    _shrink(network, "fc2.weight", (slice(None), 5))  # neuron 5 has no output left
    _shrink(network, "fc1.weight", (slice(None), slice(16, 32)))  # nobody reads filter 1
    smaller = drop_neurons(network, {"conv.weight": 0.01, "fc1.weight": 0.01, "fc2.weight": 0.01})
    assert smaller.dense("fc1.weight").shape == (4, 48)
    assert smaller.dense("fc2.weight").shape == (3, 4)
    assert smaller.dense("conv.weight").shape == (3, 2, 3, 3) and len(smaller.dense("norm.weight")) == 3
    for name in ("conv.weight", "fc1.weight", "fc2.weight"):
        cut = network.dense(name)
        with torch.no_grad():
            cut[cut.abs() < 0.01] = 0
        assert isinstance(smaller.form(name), Sparse)
    torch.testing.assert_close(smaller(X), network(X), rtol=1e-5, atol=1e-6)
    assert what_is_left(network, smaller)[1:] == [
        "fc1: 192 of 384 weights are left, 48 of 64 inputs and 4 of 6 outputs",
        "fc2: 12 of 18 weights are left, 4 of 6 inputs and 3 of 3 outputs",
    ]


def test_the_network_that_came_is_not_changed_and_layers_without_threshold_keep_their_small_weights():
    network = _network()
    _shrink(network, "conv.weight", (0, 0, 0, 0))
    _shrink(network, "fc2.weight", (0, 0))
    before = {name: tensor.clone() for name, tensor in network.tensors().items()}
    smaller = drop_neurons(network, {"fc2.weight": 0.01})
    assert torch.equal(smaller.dense("conv.weight"), before["conv.weight"]) and smaller.form("conv.weight") is None
    assert smaller.dense("fc2.weight")[0, 0] == 0
    assert all(torch.equal(network.dense(name), tensor) for name, tensor in before.items())


def test_a_weight_at_the_threshold_stays_and_a_threshold_of_zero_keeps_all_but_zeros():
    network = _network()
    with torch.no_grad():
        network.dense("fc2.weight")[0, :2] = torch.tensor([0.25, 0.2499])
        network.dense("fc2.weight")[1, 0] = 0
    at = drop_neurons(network, {"fc2.weight": 0.25}).dense("fc2.weight")
    assert at[0, 0] == 0.25 and at[0, 1] == 0
    kept = drop_neurons(network, {"fc2.weight": 0.0})
    assert torch.equal(kept.dense("fc2.weight"), network.dense("fc2.weight"))
    assert connections(kept)["fc2.weight"].weights == (17, 18)


def test_what_was_cut_stays_cut_in_training():
    network = _network()
    _shrink(network, "fc1.weight", (slice(None), slice(0, 10)))
    smaller = drop_neurons(network, {"fc1.weight": 0.01}).train()
    optimiser = torch.optim.SGD(smaller.parameters(), lr=0.5)
    smaller(X).square().sum().backward()
    optimiser.step()
    weight = smaller.dense("fc1.weight")
    assert not weight[:, :10].any() and not torch.equal(weight[:, 10:], network.dense("fc1.weight")[:, 10:])


def test_connections_count_channels_of_grouped_and_transposed_convolutions():
    model = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.ConvTranspose2d(4, 2, 3))
    network = capture(model, torch.zeros(1, 4, 5, 5))
    with torch.no_grad():
        network.dense("0.weight")[2:, 0] = 0  # nobody reads channel 2
        network.dense("1.weight")[1] = 0  # nor channel 1 behind it
    assert connections(network) == {
        "0.weight": Connections(weights=(6, 8), inputs=(3, 4), outputs=(4, 4)),
        "1.weight": Connections(weights=(54, 72), inputs=(3, 4), outputs=(2, 2)),
    }


@pytest.mark.parametrize(
    ("threshold", "sentence"),
    [
        (-0.1, "a threshold of -0.1 for 'fc1.weight'; expected a finite number of 0 or more"),
        (float("nan"), "a threshold of nan"),
        (float("inf"), "a threshold of inf"),
        (9.0, "every weight of 'fc1.weight' lies below the threshold of 9 .*lower it"),
    ],
)
def test_thresholds_that_cannot_be_meant_are_refused(threshold, sentence):
    with pytest.raises(TersenetError, match=sentence):
        drop_neurons(_network(), {"fc1.weight": threshold})
