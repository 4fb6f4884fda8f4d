"""Each score is what its paper says, checked against plain PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import Group, capture, coupled_groups, fold_batchnorm
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.scores import (
    activation_scores,
    batchnorm_scores,
    nonzero_scores,
    norm_scores,
    taylor_scores,
    unit_scores,
)

X = torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(1))
Y = torch.arange(24) % 4


def model() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 5, 2), nn.Flatten(), nn.Linear(125, 4)
    )
    with torch.no_grad():
        made[1].weight.copy_(torch.tensor([1.0, -2, 0, 0.5, 3, 1]))
        made[1].bias.copy_(torch.linspace(-1, 2, 6))
        made[1].running_mean.normal_()
    return made.eval()


def batches(size: int = 8):
    return [(X[at : at + size], Y[at : at + size]) for at in range(0, len(X), size)]


def test_norms_are_those_of_the_filters_also_of_a_transposed_convolution():
    net, scores = model(), norm_scores(capture(model(), X), 1)
    torch.testing.assert_close(scores["0"], net[0].weight.double().abs().sum((1, 2, 3)))
    torch.testing.assert_close(scores["3"], net[3].weight.double().abs().sum((0, 2, 3)))
    torch.testing.assert_close(norm_scores(capture(net, X), 2)["5"], net[5].weight.double().norm(dim=1))


def test_a_transposed_convolution_in_groups_has_a_norm_for_each_of_its_outputs():
    net = nn.ConvTranspose2d(4, 6, 2, groups=2)
    weight = net.weight.double()
    expected = torch.cat([weight[:2].abs().sum((0, 2, 3)), weight[2:].abs().sum((0, 2, 3))])
    torch.testing.assert_close(norm_scores(capture(net, X.new_zeros(2, 4, 3, 3)), 1)["weight"], expected)


def test_batchnorm_scores_are_the_scales_and_a_layer_without_one_has_none():
    network = capture(model(), X)
    assert batchnorm_scores(network)["0"].tolist() == [1, 2, 0, 0.5, 3, 1]
    assert set(batchnorm_scores(network)) == {"0"}
    folded = batchnorm_scores(fold_batchnorm(network))["0"]
    assert folded[2] == 0 and folded.argmax() == 4


def gates(net: nn.Sequential, x, y):
    """d loss / d gate at gates of 1 behind BatchNorm, and behind layers that have none."""
    ones = [torch.ones(width, requires_grad=True) for width in (6, 5, 4)]
    a = net[1](net[0](x)) * ones[0].view(-1, 1, 1)
    b = net[3](F.relu(a)) * ones[1].view(-1, 1, 1)
    return torch.autograd.grad(F.cross_entropy(net[5](b.flatten(1)) * ones[2], y), ones)


def test_taylor_is_the_squared_gradient_of_a_gate_averaged_over_batches():
    net, network = model(), capture(model(), X).train()
    scores = taylor_scores(network, batches(), F.cross_entropy)
    for place, name in enumerate(("0", "3", "5")):
        expected = sum(gates(net, x, y)[place].double() ** 2 for x, y in batches()) / 3
        torch.testing.assert_close(scores[name], expected, rtol=1e-4, atol=1e-10)
    assert network.training and all(parameter.grad is None for parameter in network.parameters())
    assert scores["0"][2] > 0  # gamma is 0 there, but beta is not


def test_taylor_reaches_layers_whose_weights_are_pruned_or_frozen():
    network = capture(model(), X)
    attach_pruned(network, "5.weight", keep_largest(network.dense("5.weight"), 0.5))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    scores = taylor_scores(network, batches(), F.cross_entropy)
    assert set(scores) == {"0", "3", "5"} and all((score > 0).any() for score in scores.values())


def test_activations_are_averaged_behind_the_relu_and_zeros_only_there():
    net, network = model(), capture(model(), X)
    with torch.no_grad():
        hidden = net[2](net[1](net[0](X)))
        mean, alive = hidden.abs().mean((0, 2, 3)), (hidden > 0).double().mean((0, 2, 3))
    scores = activation_scores(network, batches(5))
    torch.testing.assert_close(scores["0"], mean.double(), rtol=1e-5, atol=1e-7)
    assert set(scores) == {"0", "3", "5"}
    found = nonzero_scores(network, [x for x, _ in batches(5)])
    torch.testing.assert_close(found["0"], alive)
    assert set(found) == {"0"}


def test_a_layer_used_twice_adds_up_both_uses():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.two(F.relu(self.one(F.relu(self.one(x)))))

    torch.manual_seed(0)
    net, x = Twice(), torch.randn(10, 3)
    with torch.no_grad():
        first = F.relu(net.one(x))
        alive = torch.cat([first, F.relu(net.one(first))])
    torch.testing.assert_close(nonzero_scores(capture(net, x), [x])["one"], (alive > 0).double().mean(0))
    gate = torch.ones(3, requires_grad=True)
    inner = net.one(F.relu(net.one(x) * gate)) * gate
    (grad,) = torch.autograd.grad(F.cross_entropy(net.two(F.relu(inner)), Y[:10] % 2), gate)
    found = taylor_scores(capture(net, x), [(x, Y[:10] % 2)], F.cross_entropy)
    torch.testing.assert_close(found["one"], grad.double() ** 2, rtol=1e-4, atol=1e-10)


def test_a_unit_is_scored_over_all_channels_that_leave_with_it():
    group = Group(("a", "b"), {"a": np.array([0, 1]), "b": np.array([0, 0, 1, 1])}, 2, {})
    scores = {"a": torch.tensor([3.0, 1]).double(), "b": torch.tensor([1.0, 2, 3, 5]).double()}
    assert unit_scores(group, scores, "sum").tolist() == [6, 9]
    assert unit_scores(group, scores, "mean").tolist() == [2, 3]
    assert unit_scores(group, {"a": scores["a"]}, "mean") is None


@pytest.mark.parametrize(
    "score", [activation_scores, nonzero_scores, lambda n, b: taylor_scores(n, b, F.cross_entropy)]
)
def test_bad_data_is_refused(score):
    network = capture(model(), X)
    with pytest.raises(TersenetError, match="NaN or infinite"):
        score(network, [(X * float("nan"), Y)])
    with pytest.raises(TersenetError, match="the data is empty"):
        score(network, [])
    with torch.no_grad():
        network.layer("0").weight[0] = float("nan")
    with pytest.raises(TersenetError, match="NaN"):
        score(network, batches())


def test_groups_of_a_network_are_scored_whole():
    network = capture(model(), X)
    scores = norm_scores(network, 1)
    assert [unit_scores(group, scores, "mean").shape for group in coupled_groups(network)] == [(6,), (5,), (4,)]
