"""Columns of the factor multiply to the loss's Hessian, and what arrives at a layer is the curvature there."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.curvature import _factor_columns, output_curvature, output_diagonal
from tersenet.methods.select import select_layers


@pytest.mark.parametrize("outputs", ["classes", "values"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (2, 3, 4)])
def test_columns_multiply_to_the_hessian_of_one_examples_loss(outputs, shape):
    torch.manual_seed(0)
    z = 3 * torch.randn(shape).double()
    columns = torch.stack(list(_factor_columns(z, outputs, None, torch.Generator()))).flatten(2)
    for number, one in enumerate(z):
        target = torch.zeros(one.shape[1:], dtype=torch.int64) if outputs == "classes" else torch.randn_like(one)

        def loss(flat: torch.Tensor, one: torch.Tensor = one, target: torch.Tensor = target) -> torch.Tensor:
            given = flat.reshape(1, *one.shape)
            return F.cross_entropy(given, target[None]) if outputs == "classes" else F.mse_loss(given, target[None])

        hessian = torch.autograd.functional.hessian(loss, one.reshape(-1))
        torch.testing.assert_close(columns[:, number].mT @ columns[:, number], hessian)
        torch.testing.assert_close(output_diagonal(z, outputs)[number].reshape(-1), hessian.diagonal())


def test_the_curvature_by_a_channel_is_that_by_its_bias():
    torch.manual_seed(1)
    net = capture(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4)).double(), torch.randn(7, 5).double())
    x = torch.randn(7, 5).double()
    found = output_curvature(net, [x[:3], x[3:]], select_layers(net, "*"))
    for layer in select_layers(net, "*"):

        def loss(bias: torch.Tensor, name: str | None = layer.bias) -> torch.Tensor:
            z = torch.func.functional_call(net.plain(), {name: bias}, (x,))
            return F.cross_entropy(z, torch.zeros(7, dtype=torch.int64))

        hessian = torch.autograd.functional.hessian(loss, net.dense(layer.bias).detach())
        torch.testing.assert_close(found[layer.weight], hessian.diagonal())


def test_places_of_a_channel_are_summed_and_a_layer_nothing_depends_on_has_none():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.spare = nn.Conv2d(1, 2, 1), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).flatten(1) + 0 * self.spare(x.flatten(1)).sum(1, keepdim=True)

    x = torch.randn(5, 1, 2, 2)
    net = capture(Net(), x)
    found = output_curvature(net, [x], select_layers(net, "*"), outputs="values")
    torch.testing.assert_close(found["conv.weight"], torch.full((2,), 4 * 2 / 8, dtype=torch.float64))
    assert not found["spare.weight"].any()


def test_networks_without_one_float_output_are_refused():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.one(x), x

    x = torch.randn(4, 3)
    net = capture(Two(), x)
    with pytest.raises(TersenetError, match="gives a tuple"):
        output_curvature(net, [x], select_layers(net, "*"))
    bad = capture(nn.Linear(3, 2), x)
    bad.set_tensor("weight", bad.dense("weight") * torch.inf)
    with pytest.raises(TersenetError, match="answers with NaN or infinite"):
        output_curvature(bad, [x], select_layers(bad, "*"))
