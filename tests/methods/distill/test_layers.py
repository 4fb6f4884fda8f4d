"""What layers give is seen in modules and in rebuilt networks alike, and looking changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.distill.layers import Inside, layer_shapes

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A stem, a block with a sum, a head; everything between them is functional."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2 = (nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 4))
        self.norm, self.head, self.unused = nn.BatchNorm2d(4), nn.Linear(4, 5), nn.Linear(2, 2)

    def block(self, x):
        return torch.relu(x + self.norm(self.conv2(torch.relu(self.conv1(x)))))

    def forward(self, x):
        return self.head(self.block(torch.relu(self.stem(x))).mean((2, 3)))


@pytest.fixture
def residual():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Residual().eval()


def test_a_module_shows_what_it_returns(residual):
    answer, found = Inside(residual, ["conv1", "norm"]).run(X)
    assert torch.equal(answer, residual(X))
    assert torch.equal(found["conv1"], residual.conv1(torch.relu(residual.stem(X))))
    assert set(found) == {"conv1", "norm"}
    assert not any(module._forward_hooks for module in residual.modules())


def test_a_layer_of_a_network_goes_on_to_the_next_that_several_read(residual):
    network = capture(residual, X)
    answer, found = Inside(network, ["stem", "conv1", "conv2"]).run(X)
    stem = torch.relu(residual.stem(X))
    torch.testing.assert_close(answer, residual(X))
    torch.testing.assert_close(found["stem"], stem)
    torch.testing.assert_close(found["conv1"], torch.relu(residual.conv1(stem)))
    torch.testing.assert_close(found["conv2"], residual.block(stem))


def test_gradients_reach_the_layer_that_is_looked_at(residual):
    for network in (residual, capture(residual, X)):
        network.train()
        _, found = Inside(network, ["conv1"]).run(X)
        found["conv1"].sum().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        assert gradients["conv1.weight"] is not None and gradients["conv2.weight"] is None


def test_shapes_come_in_order_without_what_answers_and_leave_modes_alone(residual):
    residual.train()
    assert list(layer_shapes(residual, X)) == ["stem", "conv1", "conv2", "norm"]
    assert residual.training and residual.norm.num_batches_tracked == 0
    shapes = layer_shapes(capture(residual, X), X)
    assert shapes == dict.fromkeys(("stem", "conv1", "conv2"), (4, 8, 8))


def test_layers_that_are_not_there_or_not_run_are_refused(residual):
    for network in (residual, capture(residual, X)):
        with pytest.raises(TersenetError, match="no layer 'conv3'; near it are conv"):
            Inside(network, ["conv3"])
    with pytest.raises(TersenetError, match="no layer ''"):
        Inside(residual, [""])
    with pytest.raises(TersenetError, match="'unused' was not run"):
        Inside(residual, ["unused"]).run(X)
