"""A chain in a layer's place: at full rank the network answers as before, wherever the layer stands."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from structures import all_of, build, distance, function
from torch import nn

from tersenet import artifact, ir
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Dense
from tersenet.graph import Chain, Network, capture, replace_layers
from tersenet.graph.chains import own_bias, why_no_chain


def identity(network: Network, weight: str, links: int) -> Chain:
    """The layer itself, then square layers that change nothing."""
    tensor = network.dense(weight)
    more = torch.eye(len(tensor)).reshape(len(tensor), len(tensor), *[1] * (tensor.ndim - 2))
    return Chain((tensor, *[more] * (links - 1)))


def chainable(network: Network) -> list[str]:
    return list(dict.fromkeys(one.weight for one in network.weighted_layers() if why_no_chain(network, one) is None))


# All of them are asked in tests/methods/test_every_factorisation.py, with chains of two.
SOME = ("chain", "siamese", "grouped", "recurrent", "fused_attention", "embedded", "transposed", "gated")


@pytest.mark.parametrize("name", SOME)
def test_a_chain_that_computes_the_same_changes_no_answer(name):
    network, example = build(name)
    chained = replace_layers(network, {weight: identity(network, weight, 3) for weight in chainable(network)})
    assert ir.read(ir.write(chained.graph)) == chained.graph
    with torch.no_grad():
        assert distance(all_of(chained(*example)), all_of(network(*example))) < 1e-5
    assert not set(chainable(network)) & set(chained.graph.parameters)


def test_names_bias_and_the_place_in_the_file():
    network = capture(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.Flatten(),
                                    nn.Linear(64, 2)), torch.zeros(2, 3, 8, 8))  # fmt: skip
    chained = replace_layers(network, {weight: identity(network, weight, 2) for weight in chainable(network)})
    names = list(chained.graph.parameters)
    assert names[:2] == ["0.0.weight", "0.1.weight"] and names[-3:] == ["3.0.weight", "3.1.weight", "3.1.bias"]
    assert [one.name for one in chained.weighted_layers()] == ["0.0", "0.1", "3.0", "3.1"]
    first, second = chained.graph.nodes[:2]
    assert first.get("stride") == (2, 2) and first.get("padding") == (1, 1) and second.get("stride") == (1, 1)


def test_links_chain_again_and_taken_names_are_avoided():
    model = nn.Module()
    model.fc, model.fc.more = nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 4)])
    model.fc.add_module("0", nn.Linear(4, 4))
    model.forward = lambda x: getattr(model.fc, "0")(model.fc(x))
    x = torch.randn(3, 4)
    network = capture(model, x)
    once = replace_layers(network, {"fc.weight": identity(network, "fc.weight", 2)})
    assert {"fc_.0.weight", "fc_.1.weight", "fc_.1.bias", "fc.0.weight"} <= set(once.graph.parameters)
    twice = replace_layers(once, {"fc_.1.weight": identity(once, "fc_.1.weight", 2)})
    assert {"fc_.0.weight", "fc_.1.0.weight", "fc_.1.1.weight", "fc_.1.1.bias"} <= set(twice.graph.parameters)
    torch.testing.assert_close(twice(x), network(x))


def shared(*, bias: bool = True) -> Network:
    """Two paths through one weight, at two strides; the bias is read by a sum too where it is not the layer's own."""

    def forward(m, x):
        wide = F.conv2d(x, m.a.weight, m.a.bias, stride=1).mean((2, 3))
        narrow = F.conv2d(x, m.a.weight, m.a.bias, stride=2).amax((2, 3))
        return wide + narrow if bias else wide + narrow * m.a.bias

    torch.manual_seed(0)
    return capture(function(forward, a=nn.Conv2d(3, 5, 3)), torch.zeros(2, 3, 7, 7)).eval()


def test_a_shared_weight_becomes_one_shared_chain():
    network, x = shared(), torch.randn(2, 3, 7, 7)
    chained = replace_layers(network, {"a.weight": identity(network, "a.weight", 2)})
    assert list(chained.graph.parameters) == ["a.0.weight", "a.1.weight", "a.1.bias"]
    assert [node.op for node in chained.graph.nodes].count("conv2d") == 4
    with torch.no_grad():
        torch.testing.assert_close(chained(x), network(x))


def test_a_bias_that_others_read_keeps_its_name_and_cannot_change():
    network, x = shared(bias=False), torch.randn(2, 3, 7, 7)
    layer = network.weighted_layers()[0]
    assert own_bias(network, layer) is None and own_bias(shared(), layer) == "a.bias"
    chained = replace_layers(network, {"a.weight": identity(network, "a.weight", 2)})
    assert "a.bias" in chained.graph.parameters
    with torch.no_grad():
        torch.testing.assert_close(chained(x), network(x))
    with pytest.raises(TersenetError, match="no bias of its own"):
        replace_layers(network, {"a.weight": Chain((network.dense("a.weight"),), bias_change=torch.ones(5))})


def test_what_the_bias_gains_is_added():
    network, x = shared(), torch.randn(2, 3, 7, 7)
    chained = replace_layers(network, {"a.weight": Chain((network.dense("a.weight"),), bias_change=torch.arange(5.0))})
    with torch.no_grad():
        torch.testing.assert_close(chained(x), network(x) + 2 * torch.arange(5.0))


def test_a_form_on_the_layer_goes_and_others_stay():
    network = build("chain")[0]
    for name in ("0.weight", "8.weight"):
        network.attach(name, Dense.fit(network.dense(name)))
    chained = replace_layers(network, {"8.weight": identity(network, "8.weight", 2)})
    assert list(chained.forms()) == ["0.weight"] and "8.weight" in network.forms()


def test_it_trains_and_comes_back_from_a_file():
    network, example = build("chain")
    chained = replace_layers(network, {weight: identity(network, weight, 2) for weight in chainable(network)})
    chained.train()(*example).square().sum().backward()
    assert all(parameter.grad is not None for parameter in chained.parameters())
    back = artifact.from_contents(decode(artifact.to_bytes(chained.eval()))).eval()
    assert torch.equal(back(*example), chained(*example))


@pytest.mark.parametrize(
    ("name", "weight", "why"),
    [
        ("transposed", "1.weight", "it is conv_transpose2d"),
        ("grouped", "b.weight", "its channels are in groups"),
        ("embedded", "tokens.weight", "its weight is read by embedding too|it is embedding"),
    ],
)
def test_what_cannot_be_a_chain_says_why(name, weight, why):
    network, _ = build(name)
    with pytest.raises(TersenetError, match=f"cannot become a chain: ({why})"):
        replace_layers(network, {weight: identity(network, weight, 2)})
    with pytest.raises(TersenetError, match="no layer with a weight 'nothing'"):
        replace_layers(network, {"nothing": Chain((torch.zeros(1, 1),))})
