"""The parts that harm least leave, measured anew after each."""

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.layers import removable_parts, remove_layers


class Stack(nn.Module):
    """x + 1 * a + 2 * b + ...: each branch adds what its bias says."""

    def __init__(self, biases: list[float]) -> None:
        super().__init__()
        self.stem = nn.Linear(2, 3)
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in biases)
        for block, bias in zip(self.blocks, biases):
            nn.init.zeros_(block.weight)
            nn.init.constant_(block.bias, bias)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return x


X = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))


def stack(biases: list[float]):
    network = capture(Stack(biases), X).eval()
    with torch.no_grad():
        target = network(X)

    def quality(one):
        with torch.no_grad():
            return -float((one(X) - target).abs().mean())

    return network, quality


def test_the_least_harmful_leaves_first_and_the_rest_are_measured_without_it():
    # Alone, 0.5 harms less than -0.6; once 0.5 has left, losing -0.6 too brings the answer back to within 0.1.
    network, quality = stack([3.0, 0.5, -0.6, 0.8])
    smaller, losses = remove_layers(network, "*", 2, quality)
    assert [loss.part.name for loss in losses] == ["blocks.1", "blocks.2"]
    assert losses[0].quality == pytest.approx(-0.5, abs=1e-5) and losses[1].quality == pytest.approx(-0.1, abs=1e-5)
    assert [loss.measured for loss in losses] == [4, 3]
    assert "blocks.1.weight" not in smaller.graph.parameters and "blocks.1.weight" in network.graph.parameters
    assert quality(smaller) == losses[1].quality


def test_of_equals_the_first_leaves():
    network, quality = stack([1.0, 1.0])
    assert remove_layers(network, "*", 1, quality)[1][0].part.name == "blocks.0"


def test_only_what_is_named_leaves():
    network, quality = stack([0.1, 2.0])
    assert [part.name for part in removable_parts(network, "blocks.1")] == ["blocks.1"]
    assert remove_layers(network, "blocks.1", 1, quality)[1][0].part.layers == ("blocks.1",)


def test_what_cannot_leave_is_refused():
    network, quality = stack([1.0, 2.0])
    with pytest.raises(TersenetError, match="no layer or residual branch that 'stem' names can leave"):
        remove_layers(network, "stem", 1, quality)
    with pytest.raises(
        TersenetError, match="3 layers or branches are to leave, but after blocks.0, blocks.1 no other can"
    ):
        remove_layers(network, "*", 3, quality)
    with pytest.raises(TersenetError, match="0 layers"):
        remove_layers(network, "*", 0, quality)
