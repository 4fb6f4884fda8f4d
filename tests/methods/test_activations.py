"""Ranges that a few inputs fix are rounded to alike in torch, in files and in the runtime."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.activations import round_activations


class Forked(nn.Module):
    """Two convolutions read one value, which is added to as well; a third has one input channel a group."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.left = nn.Conv2d(4, 4, 3, padding=1)
        self.right = nn.Conv2d(4, 4, 1)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.last = nn.Linear(4 * 36, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = x + self.left(x) - self.right(x)
        return self.last(self.deep(x).flatten(1))


@pytest.fixture
def inputs():
    return torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def forked(inputs):
    torch.manual_seed(0)
    return capture(Forked().eval(), inputs[:2])


def grids(network):
    return [node for node in network.graph.nodes if node.op == "fake_quantize"]


def test_layers_that_multiply_integers_read_rounded_values_and_share_them(forked, inputs):
    made, notes = round_activations(forked, "*", [inputs[:8], inputs[8:]])
    assert not notes and len(grids(made)) == 2 and not grids(forked)
    after_relu, before_last = grids(made)
    assert (after_relu.get("quant_min"), after_relu.get("quant_max")) == (0, 255)
    assert (before_last.get("quant_min"), before_last.get("quant_max")) == (-128, 127)
    assert after_relu.get("zero_point") == 0
    seen = torch.relu(torch.conv2d(inputs, forked.dense("first.weight"), forked.dense("first.bias"), padding=1))
    assert after_relu.get("scale") == pytest.approx(float(seen.max()) / 255, rel=1e-6)
    with torch.no_grad():
        before, after = forked(inputs), made(inputs)
    assert not torch.equal(before, after)
    assert (before - after).abs().max() < 0.02 * before.abs().max()
    for kind in ("left", "right"):
        node = next(node for node in made.graph.nodes if f"{kind}.weight" in str(node))
        assert (
            node.arguments["input"]
            == next(node for node in made.graph.nodes if "left.weight" in str(node)).arguments["input"]
        )


def test_a_file_keeps_the_grids(forked, inputs):
    made, _ = round_activations(forked, "*", [inputs])
    again = artifact.from_contents(decode(artifact.to_bytes(made, "raw")))
    assert again.graph.nodes == made.graph.nodes
    with torch.no_grad():
        assert torch.equal(again(inputs), made(inputs))


def test_what_is_rounded_already_stays_and_a_pattern_chooses(forked, inputs):
    once, _ = round_activations(forked, "last", [inputs])
    assert len(grids(once)) == 1
    twice, _ = round_activations(once, "*", [inputs])
    assert len(grids(twice)) == 2
    same, notes = round_activations(twice, "*", [inputs])
    assert same is twice and "could be rounded" in notes[0]
    alone, notes = round_activations(forked, "deep", [inputs])
    assert alone is forked and notes


def test_a_percentile_cuts_off_what_is_rare(forked, inputs):
    inputs[0, 0, 0, 0] = 1000
    whole, cut = (grids(round_activations(forked, "left", [inputs], percentile=one)[0])[0] for one in (100.0, 99.0))
    assert cut.get("scale") < 0.1 * whole.get("scale")


def test_four_bits_have_sixteen_levels(forked, inputs):
    made, _ = round_activations(forked, "left", [inputs], bits=4)
    assert [(node.get("quant_min"), node.get("quant_max")) for node in grids(made)] == [(0, 15)]


def test_gradients_pass_the_rounding_but_not_where_a_value_went_to_an_end():
    network = capture(nn.Sequential(nn.Linear(3, 1, bias=False)).eval(), torch.zeros(2, 3))
    made, _ = round_activations(network, "*", [torch.tensor([[1.0, -1.0, 0.5]])])
    x = torch.tensor([[0.3, -0.2, 9.0]], requires_grad=True)
    made(x).sum().backward()
    weight = made.dense("0.weight").detach()[0]
    assert torch.equal(x.grad[0], weight * torch.tensor([1.0, 1.0, 0.0]))


def test_zeros_alone_leave_a_layer_as_it_is(forked):
    made, notes = round_activations(forked, "last", [torch.zeros(2, 1, 6, 6)])
    assert grids(made) or "nothing but zeros" in notes[0]
    flat = capture(nn.Sequential(nn.Linear(3, 2)).eval(), torch.zeros(2, 3))
    made, notes = round_activations(flat, "*", [torch.zeros(2, 3)])
    assert not grids(made) and notes == ["0: nothing but zeros came in; left as they are"]


def test_values_that_are_none_are_refused(forked, inputs):
    with pytest.raises(TersenetError, match="percentile 40"):
        round_activations(forked, "*", [inputs], percentile=40)
    with pytest.raises(TersenetError, match="no layer matches 'nowhere'"):
        round_activations(forked, "nowhere", [inputs])
    inputs[0] = torch.inf
    with pytest.raises(TersenetError, match="NaN or infinite"):
        round_activations(forked, "*", [inputs])
    with pytest.raises(TersenetError, match="empty"):
        round_activations(forked, "*", [])
