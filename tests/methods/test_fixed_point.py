"""Exponents follow the rate of overflow; inputs are rounded on the way there, gradients on the way back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.forms import FixedPoint, Latent
from tersenet.graph import capture
from tersenet.methods.fixed_point import STEPS, Exponent, Widths, adapt, common_exponent, train_in_fixed_point
from tersenet.methods.latent import settle


def _network():
    torch.manual_seed(0)
    return capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("numbers", "moves"),
    [
        ([9.0] + [0.1] * 99, 1),  # one of a hundred is beyond 7.5
        ([7.4] + [0.1] * 99, 0),  # none is, but with half the range one would be
        ([3.7] + [0.1] * 99, -1),
        ([0.0] * 100, -1),
    ],
)
def test_the_range_doubles_on_overflow_and_halves_where_none_would_be(numbers, moves):
    exponent = Exponent(4, 0)
    exponent.rounded(torch.tensor(numbers))
    exponent.adapt(0.001)
    assert int(exponent.value) == moves
    exponent.adapt(0.001)  # nothing was seen since
    assert int(exponent.value) == moves


def test_a_share_of_overflow_that_is_allowed_changes_nothing():
    exponent = Exponent(4, 0)
    exponent.rounded(torch.tensor([9.0] + [7.0] * 99))
    exponent.adapt(0.01)
    assert int(exponent.value) == 0


def test_nothing_is_counted_outside_of_training():
    exponent = Exponent(4, 0).eval()
    assert exponent.rounded(torch.tensor([9.0, 0.6, -0.5])).tolist() == [7.0, 1.0, 0.0]
    assert float(exponent.seen) == 0


def test_a_group_without_a_range_takes_that_of_the_first_numbers_it_meets():
    exponent = Exponent(8)
    exponent.rounded(torch.tensor([0.01, -0.03]))
    assert int(exponent.value) == -12


def test_inputs_are_rounded_there_gradients_back_and_weights_in_between():
    network = _network()
    layers = network.weighted_layers()
    train_in_fixed_point(network, layers, [Widths(weights=3, inputs=3, gradients=3)] * 2, dynamic=True)
    seen = {}
    watch = {layer.index: lambda given, result, name=layer.name: seen.setdefault(name, result) for layer in layers}
    x = torch.randn(64, 4)
    network.watch((x,), watch)
    weight = network.dense("0.weight")
    assert len(weight.unique()) <= 8
    rounded = network.around()[layers[0].index].inputs.rounded(x)
    assert len(rounded.unique()) <= 8
    assert torch.allclose(seen["0"], rounded @ weight.T + network.dense("0.bias"), atol=1e-6)
    network(x).sum(1).square().sum().backward()
    # The bias of the last layer gets the sum of the gradients of its outputs, each one of 8 numbers.
    signals = network.around()[layers[1].index]
    step = 2.0 ** int(signals.gradients.value)
    grad = network.state_dict(keep_vars=True)["2.bias"].grad / step
    assert torch.equal(grad, grad.round())


def test_without_dynamic_one_exponent_serves_everything():
    network = _network()
    layers = network.weighted_layers()
    train_in_fixed_point(network, layers, [Widths(weights=6, inputs=6)] * 2, dynamic=False)
    values = {int(one.value) for one in network.modules() if isinstance(one, Exponent)}
    assert values == {common_exponent(_network(), layers, [6, 6])}


def test_exponents_are_looked_at_every_so_many_steps_and_end_in_the_forms():
    network = _network()
    train_in_fixed_point(network, network.weighted_layers(), [Widths(weights=4)] * 2, dynamic=True)
    form = network.form("2.weight")
    assert isinstance(form, Latent)
    before = int(form.quantiser.exponent.value)
    with torch.no_grad():
        form.values *= 8
    for step in range(1, STEPS + 1):
        network(torch.zeros(2, 4))
        adapt(network)
        assert int(form.quantiser.exponent.value) == before + (step == STEPS)
    settle(network)
    settled = network.form("2.weight")
    assert isinstance(settled, FixedPoint) and settled.exponent == before + 1
