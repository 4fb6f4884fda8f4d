"""The new head starts from the old one's answers; the smaller network saves, runs, learns and takes other sizes."""

import numpy as np
import pytest
import torch
from structures import build, distance, function
from torch import nn

from tersenet import runtime
from tersenet.artifact import from_contents, to_bytes
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Codebook
from tersenet.graph import capture, dense_head
from tersenet.methods.gap import fitted, replace_head
from tersenet.zoo import ENTRIES

# Whose head leaves, with how many parameters stay: the convolutions and a weight a channel and class.
LEFT = {
    "lenet5": 26_080,
    "lenet5_3": 3_042,
    "lenet5_tf": 52_746,
    "vgg16_cifar": 14_728_266,
    "alexnet": 2_591_080,
    "vgg16": 15_227_688,
}
LARGE = ("alexnet", "vgg16")
CASES = [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in LEFT]


@pytest.mark.parametrize("name", CASES)
def test_a_network_of_the_zoo_saves_runs_learns_and_takes_other_sizes(name):
    network, (x,) = build(name)
    smaller, notes = replace_head(network)
    assert notes[-1].endswith(f"parameters are {LEFT[name]:,}")
    assert sum(one.numel() for one in smaller.parameters()) == LEFT[name]
    channels, side, _ = ENTRIES[name].input_shape
    wider = torch.randn(1, channels, side + 12, side + 19)
    data = to_bytes(smaller, "raw")
    with torch.no_grad():
        expected = smaller(wider)
        assert torch.equal(from_contents(decode(data)).eval()(wider), expected)
    session = runtime.open_bytes(data, threads=1, shapes=[wider.shape[1:]])
    assert distance((torch.from_numpy(session(wider.numpy())),), (expected,)) < 1e-4
    learns(smaller, x)


def learns(network, x):
    """A step down the gradient lowers the loss, and reaches the convolutions."""
    target = torch.zeros(len(x), dtype=torch.int64)
    first = nn.functional.cross_entropy(network(x), target)
    first.backward()
    trained = [one for one in network.parameters() if one.grad is not None and bool(one.grad.any())]
    assert len(trained) > 2
    with torch.no_grad():
        norm = sum(one.grad.square().sum() for one in trained).sqrt()
        for one in trained:
            one -= 1e-3 / norm * one.grad
        assert nn.functional.cross_entropy(network(x), target) < first


def test_a_head_of_one_layer_on_maps_of_one_place_answers_as_before():
    network, (x,) = build("vgg16_cifar")
    smaller, notes = replace_head(network)
    with torch.no_grad():
        assert distance((smaller(x),), (network(x),)) < 1e-5
    assert len(notes) == 1


def two_layers():
    torch.manual_seed(0)
    convs = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU())
    head = nn.Sequential(nn.Flatten(), nn.Linear(80, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 3))
    return function(lambda m, x: m.head(m.convs(x)), convs=convs, head=head)


X = torch.randn(64, 2, 6, 6, generator=torch.Generator().manual_seed(4))


def test_the_start_is_the_least_squares_fit_of_the_old_answers():
    model = two_layers().eval()
    network = capture(model, X).eval()
    weight, bias = fitted(network, dense_head(network), [X[:40], (X[40:], torch.zeros(24))])
    with torch.no_grad():
        means = np.c_[model.convs(X).mean((2, 3)).double().numpy(), np.ones(64)]
        best = np.linalg.lstsq(means, model(X).double().numpy(), rcond=None)[0]
    torch.testing.assert_close(
        torch.cat((weight, bias[:, None]), 1).double(), torch.from_numpy(best.T), rtol=1e-4, atol=1e-4
    )
    smaller, notes = replace_head(network, "*", [X])
    with torch.no_grad():
        worse = [(model(X) - answers).square().sum() for answers in (smaller(X), torch.zeros(64, 3))]
    assert worse[0] < worse[1] and len(notes) == 1


def test_a_hidden_layer_answers_nearer_to_the_old_head():
    network = capture(two_layers(), X).eval()
    with torch.no_grad():
        far = []
        for hidden in (0, 40):
            smaller, notes = replace_head(network, "*", [X], hidden=hidden)
            far.append(float((smaller(X) - network(X)).square().mean()))
    assert far[1] < 0.7 * far[0]
    assert smaller.dense("gap.hidden.weight").shape == (40, 5, 1, 1) and len(notes) == 1
    same, _ = replace_head(network, "*", [X], hidden=40)
    assert torch.equal(same.dense("gap.weight"), smaller.dense("gap.weight"))
    random, notes = replace_head(network, hidden=40)
    assert "starts at random" in notes[0] and random.dense("gap.weight").shape == (3, 40, 1, 1)
    # Also where the old head's one layer could have been the new one.
    bent, _ = replace_head(build("vgg16_cifar")[0], hidden=3)
    assert bent.dense("gap.weight").shape == (10, 3, 1, 1)


def test_fewer_examples_than_channels_and_dead_channels_still_give_a_start():
    model = two_layers().eval()
    with torch.no_grad():
        model.convs[0].weight[1:3] = 0
        model.convs[0].bias[1:3] = -1
    network = capture(model, X).eval()
    for batches in ([X[:1]], [X[:2]], [X]):
        weight, bias = fitted(network, dense_head(network), batches)
        assert torch.isfinite(weight).all() and torch.isfinite(bias).all()
        assert float(weight[:, 1:3].abs().max()) < 1e-4  # they say nothing


def test_data_that_cannot_be_fitted_is_refused():
    network = capture(two_layers(), X)
    with pytest.raises(TersenetError, match="the data is empty"):
        replace_head(network, "*", [])
    with pytest.raises(TersenetError, match="NaN"):
        replace_head(network, "*", [X * torch.nan])


def test_without_inputs_the_start_is_random_by_the_seed_and_said_to_be():
    network = capture(two_layers(), X).eval()
    (one, notes), (same, _), (other, _) = (replace_head(network, seed=seed) for seed in (0, 0, 1))
    assert notes[0] == "the new head starts at random: no training inputs were looked at"
    assert torch.equal(one.dense("gap.weight"), same.dense("gap.weight"))
    assert not torch.equal(one.dense("gap.weight"), other.dense("gap.weight"))
    assert 0.3 < float(one.dense("gap.weight").abs().max()) <= 5**-0.5


def test_the_old_network_stays_as_it_was_and_modes_and_forms_are_kept():
    network = capture(two_layers(), X)
    network.layer("head.2").eval()
    network.attach("convs.0.weight", Codebook.fit(network.dense("convs.0.weight"), k=4))
    modes = {name: module.training for name, module in network.named_modules()}
    smaller, _ = replace_head(network, "*", [X])
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert smaller.training and isinstance(smaller.form("convs.0.weight"), Codebook)
    assert list(smaller.graph.parameters) == ["convs.0.weight", "convs.0.bias", "gap.weight", "gap.bias"]


def test_a_pattern_names_the_whole_head_or_nothing_leaves():
    network = capture(two_layers(), X)
    replace_head(network, "head.*")
    with pytest.raises(TersenetError, match=r"the head is head\.1, head\.5; 'head\.5' leaves out head\.1"):
        replace_head(network, "head.5")
    with pytest.raises(TersenetError, match="no layer matches 'haed"):
        replace_head(network, "haed*")


def test_what_still_names_the_size_is_noted():
    def forward(m, x):
        return m.head(m.convs(x[:, :, :5]).flatten(1))

    model = function(forward, convs=nn.Conv2d(2, 4, 3), head=nn.Linear(48, 3))
    smaller, notes = replace_head(capture(model, X).eval())
    assert notes[-1].startswith("other heights and widths do not run: its operation 0, slice")
    with pytest.raises(TersenetError, match="other heights and widths do not run"):
        smaller(torch.zeros(2, 2, 7, 6))
