"""A fully connected head is found, or refused in a sentence; the one in its place answers by the means of the maps."""

import pytest
import torch
import torch.nn.functional as F
from structures import distance, function
from torch import nn

from tersenet import artifact, ir, zoo
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture, dense_head, pooled_head
from tersenet.ir.sizes import fixed_by

X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(2))


def convs():
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))


def made(head, forward=lambda m, x: m.head(m.convs(x)), **more):
    torch.manual_seed(0)
    return function(forward, convs=convs(), head=head, **more)


def flat(*layers):
    return nn.Sequential(nn.Flatten(), *layers)


HEADS = {
    "one layer": flat(nn.Linear(216, 5)),
    "without a bias": flat(nn.Linear(216, 9), nn.ReLU(), nn.Linear(9, 5, bias=False)),
    "dropout": nn.Sequential(
        nn.Dropout2d(0.2), nn.Flatten(), nn.Dropout(), nn.Linear(216, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 5)
    ),
    "batch norm": flat(nn.BatchNorm1d(216), nn.Linear(216, 9), nn.BatchNorm1d(9), nn.PReLU(), nn.Linear(9, 5)),
    "layer norm": flat(nn.Linear(216, 9), nn.LayerNorm(9), nn.Hardswish(), nn.Linear(9, 5)),
    "softmax behind": flat(nn.Linear(216, 5), nn.Softmax(1)),
    "log-softmax of a scaled answer": flat(nn.Linear(216, 5), nn.Hardtanh(), nn.LogSoftmax(1)),
    "an adaptive pool before": nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 5)),
    "a view": nn.Sequential(nn.Flatten(2), nn.Flatten(), nn.Linear(216, 5)),
}


def tail(name):
    """What stays behind the last layer."""
    return {
        "softmax behind": nn.Softmax(1),
        "log-softmax of a scaled answer": nn.Sequential(nn.Hardtanh(), nn.LogSoftmax(1)),
    }.get(name, nn.Identity())


@pytest.mark.parametrize("name", HEADS)
def test_the_new_head_answers_by_the_mean_of_each_channel(name):
    model = made(HEADS[name]).eval()
    network = capture(model, X).eval()
    head = dense_head(network)
    assert (head.channels, head.classes) == (6, 5)
    weight, bias = torch.randn(5, 6), torch.randn(5)
    smaller = pooled_head(network, head, (weight, bias))
    for x in (X, torch.randn(3, 3, 17, 14)):
        with torch.no_grad():
            expected = tail(name)(model.convs(x).mean((2, 3)) @ weight.T + bias)
            torch.testing.assert_close(smaller(x), expected, rtol=1e-5, atol=1e-5)
    assert fixed_by(network.graph) or name == "an adaptive pool before"
    assert not fixed_by(smaller.graph)
    assert {one.partition(".")[0] for one in smaller.graph.parameters} == {"convs", "gap"}
    assert ir.read(ir.write(smaller.graph)) == smaller.graph
    again = artifact.from_contents(decode(artifact.to_bytes(smaller))).eval()
    with torch.no_grad():
        assert torch.equal(again(X), smaller(X))


def test_a_hidden_layer_at_each_place_comes_before_the_mean():
    model = made(HEADS["batch norm"]).eval()
    network = capture(model, X).eval()
    hidden, last = (torch.randn(7, 6), torch.randn(7)), (torch.randn(5, 7), torch.randn(5))
    smaller = pooled_head(network, dense_head(network), last, hidden)
    assert [layer.name for layer in smaller.weighted_layers()][-2:] == ["gap.hidden", "gap"]
    x = torch.randn(3, 3, 17, 14)
    with torch.no_grad():
        places = torch.einsum("nchw,oc->nohw", model.convs(x), hidden[0]) + hidden[1][:, None, None]
        expected = places.relu().mean((2, 3)) @ last[0].T + last[1]
        torch.testing.assert_close(smaller(x), expected, rtol=1e-4, atol=1e-5)
        again = artifact.from_contents(decode(artifact.to_bytes(smaller))).eval()
        assert torch.equal(again(x), smaller(x))


def test_the_layers_of_a_head_come_in_forward_order():
    network = capture(zoo.network("lenet5_3"), torch.zeros(2, 3, 32, 32))
    head = dense_head(network)
    assert (head.layers, head.channels, head.classes) == (("fc1", "fc2", "fc3"), 16, 10)


def auxiliary(m, x):
    y = m.convs(x)
    return m.head(y), y.mean((2, 3))


def twice(m, x):
    y = torch.flatten(m.convs(x), 1)
    return m.head(y) + m.more(y)


def around(m, x):
    y = m.more(torch.flatten(m.convs(x), 1))
    return m.head(y + torch.relu(m.middle(y)))


REFUSED = {
    "two outputs": (made(flat(nn.Linear(216, 5)), auxiliary), r"has 2 outputs \(output_0, output_1\)"),
    "two heads that are added": (
        made(nn.Linear(216, 5), twice, more=nn.Linear(216, 5)),
        r"ends in add \(operation \d+\)",
    ),
    "flat maps read twice": (
        made(
            nn.Linear(216, 216),
            lambda m, x: m.more(m.head(y := torch.flatten(m.convs(x), 1)) * y),
            more=nn.Linear(216, 5),
        ),
        r"mul \(operation \d+\) lies between",
    ),
    "a residual layer": (
        made(nn.Linear(9, 5), around, middle=nn.Linear(9, 9), more=nn.Linear(216, 9)),
        r"not fully connected: add \(operation \d+\)",
    ),
    "no layer at the end": (
        made(nn.Conv2d(6, 5, 1)),
        r"ends in conv2d 'head' \(operation \d+\), which gives \(batch, 5, 6, 6\)",
    ),
    "pooled globally": (
        made(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))),
        r"pools its maps globally already \(adaptive_avg_pool2d",
    ),
    "a mean": (
        made(nn.Linear(6, 5), lambda m, x: m.head(m.convs(x).mean((2, 3)))),
        r"pools its maps globally already \(mean",
    ),
    "a layer for each place": (
        made(nn.Linear(6, 5), lambda m, x: m.head(m.convs(x).permute(0, 2, 3, 1))),
        r"gives \(batch, 6, 6, 5\), not in a fully connected layer",
    ),
    "channels last": (
        made(flat(nn.Linear(216, 5)), lambda m, x: m.head(m.convs(x).permute(0, 2, 3, 1))),
        r"not fully connected: permute \(operation \d+\)",
    ),
    "no convolution": (made(flat(nn.Linear(432, 5)), lambda m, x: m.head(x * 2)), "fully connected from its input on"),
    "a weight that is computed": (
        made(nn.Linear(216, 5), lambda m, x: F.linear(m.convs(x).flatten(1), m.head.weight.abs())),
        r"linear \(operation \d+\) lies between",
    ),
    "its input": (function(lambda m, x: x.relu()), "ends in its input"),
}


@pytest.mark.parametrize(("model", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_fully_connected_head_is_refused_in_a_sentence(model, sentence):
    with pytest.raises(TersenetError, match=sentence):
        dense_head(capture(model, X))


def test_a_chain_that_another_node_reads_is_refused():
    def forward(m, x):
        y = torch.flatten(m.convs(x), 1)
        return torch.relu(m.head(y) * 2) + 0 * y.sum()

    with pytest.raises(TersenetError, match="no chain|ends in add"):
        dense_head(capture(made(nn.Linear(216, 5), forward), X))

    def gated(m, x):
        y = m.convs(x)
        return m.head(torch.flatten(y * torch.flatten(y, 1).mean(1)[:, None, None, None], 1))

    # Read twice before the maps, not behind them: the maps are what the product makes.
    assert dense_head(capture(made(nn.Linear(216, 5), gated), X)).layers == ("head",)


def test_the_maps_may_be_read_elsewhere_before_them():
    """A squeeze-and-excitation before the head is not of the head."""

    def forward(m, x):
        y = m.convs(x)
        y = y * torch.sigmoid(m.gate(F.adaptive_avg_pool2d(y, 1)))
        return m.head(y.flatten(1))

    network = capture(made(nn.Linear(216, 5), forward, gate=nn.Conv2d(6, 6, 1)), X).eval()
    smaller = pooled_head(network, dense_head(network), (torch.ones(5, 6), torch.zeros(5)))
    assert smaller(torch.zeros(2, 3, 20, 9)).shape == (2, 5)


def test_the_name_of_the_new_layer_is_free():
    model = function(lambda m, x: m.gap_(m.gap(x).flatten(1)), gap=nn.Conv2d(3, 6, 1), gap_=nn.Linear(864, 5))
    network = capture(model, X).eval()
    smaller = pooled_head(network, dense_head(network), (torch.zeros(5, 6), torch.zeros(5)))
    assert list(smaller.graph.parameters) == ["gap.weight", "gap.bias", "gap__.weight", "gap__.bias"]


def test_response_normalisation_no_longer_names_the_size():
    model = made(flat(nn.Linear(216, 5)), lambda m, x: m.head(F.local_response_norm(m.convs(x), 3)))
    network = capture(model, X).eval()
    assert "reshape" in fixed_by(network.graph)
    weight, bias = torch.randn(5, 6), torch.randn(5)
    smaller = pooled_head(network, dense_head(network), (weight, bias))
    x = torch.randn(2, 3, 18, 14)
    with torch.no_grad():
        expected = F.local_response_norm(model.eval().convs(x), 3).mean((2, 3)) @ weight.T + bias
        assert distance((smaller(x),), (expected,)) < 1e-5
