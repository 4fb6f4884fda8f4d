"""Where a layer's outputs go before anything else sees them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.graph import capture, fold_batchnorm
from tersenet.methods.chain import chain_after, cuts_at_zero


def block() -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.b, self.c = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            x = F.relu(self.bn(self.a(x)))
            x = F.hardtanh(F.max_pool2d(self.b(x), 2), 0, 6)
            y = self.c(x)
            return self.head(F.relu(y + x).mean((2, 3)))

    return Block()


def described(network):
    nodes = network.graph.nodes
    found = {}
    for layer in network.weighted_layers():
        chain = chain_after(network, layer)
        found[layer.name] = (
            nodes[chain.normalised].op,
            nodes[chain.activation].op if chain.activation is not None else None,
            chain.scale,
        )
    return found


def test_a_chain_has_normalisation_then_activation_and_ends_at_a_sum():
    network = capture(block().eval(), torch.randn(2, 3, 6, 6))
    assert described(network) == {
        "a": ("batch_norm", "relu", "bn.weight"),
        "b": ("conv2d", "relu6", None),
        "c": ("conv2d", None, None),
        "head": ("linear", None, None),
    }


def test_a_folded_batchnorm_is_one_still():
    network = fold_batchnorm(capture(block().eval(), torch.randn(2, 3, 6, 6)))
    assert described(network)["a"] == ("add", "relu", "bn.scale")


@pytest.mark.parametrize(
    ("activation", "cuts"),
    [
        (nn.ReLU(), True),
        (nn.ReLU6(), True),
        (nn.Hardtanh(0, 2), True),
        (nn.Hardtanh(-1, 1), False),
        (nn.LeakyReLU(), False),
        (nn.Tanh(), False),
    ],
)
def test_only_what_answers_zero_to_all_that_is_negative_cuts(activation, cuts):
    network = capture(nn.Sequential(nn.Linear(3, 3), activation), torch.randn(2, 3))
    chain = chain_after(network, network.weighted_layers()[0])
    assert cuts_at_zero(network.graph.nodes[chain.activation]) is cuts
