"""Channels leave by score: how many is what was asked, which is what the scores say, and answers are the masked ones."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet import zoo
from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import Network, capture
from tersenet.methods.channels import (
    Limits,
    above_deviations,
    candidates,
    keep_operations,
    keep_share_of_all,
    keep_shares,
    kept_units,
    multiply_adds,
    removal_order,
    remove_units,
    removed,
)
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.scores import norm_scores
from tersenet.methods.share import share_weights

X = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.a, self.bna = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.b, self.bnb = nn.Conv2d(12, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = F.relu(x + self.bnb(self.b(F.relu(self.bna(self.a(x))))))
        return self.head(x.mean((2, 3)))


BATCHNORM = {"stem": "bn", "a": "bna", "b": "bnb"}


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    made = Residual().eval()
    for name, tensor in made.state_dict().items():
        if "bn" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return capture(made, X)


def found_in(network: Network, where: str = "*", order: int = 1):
    return candidates(network, where, norm_scores(network, order))[0]


def silenced(network: Network, found, keeps) -> Network:
    """Zero BatchNorm's scale and shift of every channel that left: nobody hears it."""
    twin = network.clone()
    for one, keep in zip(found, keeps):
        for layer, mask in one.group.masks(keep).items():
            for name in (f"{BATCHNORM[layer]}.weight", f"{BATCHNORM[layer]}.bias"):
                twin.set_tensor(name, torch.where(mask, twin.dense(name), torch.zeros(())))
    return twin


@pytest.mark.parametrize("where", ["*", "a", "stem", "b"])
@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_the_smaller_network_answers_as_the_silenced_one(network, where, share):
    found = found_in(network, where)
    keeps = keep_shares(network, found, where, share, Limits())
    smaller = remove_units(network, found, keeps)
    with torch.no_grad():
        torch.testing.assert_close(smaller(X), silenced(network, found, keeps)(X), rtol=1e-5, atol=1e-5)
        assert torch.equal(smaller(X), network(X)) == (share == 1)


def test_coupled_layers_are_one_candidate_and_the_output_keeps_its_channels(network):
    found, notes = candidates(network, "*", norm_scores(network, 1))
    assert [one.group.layers for one in found] == [("stem", "b"), ("a",)]
    assert found[0].name == "stem and 1 coupled"
    assert notes == ["head keeps its channels: it reaches the network's output 'output'"]
    expected = (norm_scores(network, 1)["stem"] + norm_scores(network, 1)["b"]) / 2
    torch.testing.assert_close(found[0].scores, expected)


def test_the_smallest_scores_leave(network):
    found = found_in(network, "a")
    (keep,) = keep_shares(network, found, "a", 0.5, Limits())
    norms = network.dense("a.weight").abs().sum((1, 2, 3))
    assert keep.sum() == 6 and norms[keep].min() > norms[~keep].max()
    assert removed(found, [keep]) == ["a: 6 of 12 channels left the network"]


def test_a_table_gives_each_group_its_share_and_of_coupled_layers_the_larger_counts(network):
    found = found_in(network)
    stream, inner = keep_shares(network, found, "*", {"stem": 0.25, "b": 0.75, "*": 0.5}, Limits())
    assert stream.sum() == 6 and inner.sum() == 6


def test_all_together_takes_where_scores_are_small_beside_their_group(network):
    found = found_in(network)
    order = removal_order(found, "global")
    keeps = keep_share_of_all(found, order, 0.5, Limits())
    assert sum(int(keep.sum()) for keep in keeps) == 10
    relative = [one.scores / one.scores.mean() for one in found]
    kept = torch.cat([scores[keep] for scores, keep in zip(relative, keeps)])
    gone = torch.cat([scores[~keep] for scores, keep in zip(relative, keeps)])
    assert kept.min() >= gone.max()
    raw = removal_order(found, "global", normalise=False)
    scores = [float(found[number].scores[unit]) for number, unit in raw]
    assert scores == sorted(scores)


def test_any_beginning_of_the_order_by_layer_takes_equal_shares(network):
    found = found_in(network)
    order = removal_order(found, "layer")
    for count in range(len(order)):
        stream, inner = kept_units(found, order, count, Limits())
        assert abs(float(stream.double().mean() - inner.double().mean())) <= 1 / 8 + 1e-9


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_multiply_adds_stay_below_the_target_by_less_than_a_unit(network, scope, share):
    found = found_in(network)
    order = removal_order(found, scope)
    keeps = keep_operations(network, found, order, share, Limits())
    gone = sum(int((~keep).sum()) for keep in keeps)
    target = share * multiply_adds(network)
    assert multiply_adds(remove_units(network, found, keeps)) <= target
    assert (
        gone == 0 or multiply_adds(remove_units(network, found, kept_units(found, order, gone - 1, Limits()))) > target
    )


def test_a_target_out_of_reach_is_refused_with_what_can_be_reached(network):
    found = found_in(network, "a")
    with pytest.raises(TersenetError, match=r"0\.01 of the multiply-adds should stay, but 0\.\d+"):
        keep_operations(network, found, removal_order(found, "global"), 0.01, Limits())


def test_limits_hold_whatever_is_asked(network):
    found = found_in(network)
    order = removal_order(found, "global")
    everything = kept_units(found, order, len(order), Limits(at_least=3))
    assert [int(keep.sum()) for keep in everything] == [3, 3]
    assert [int(keep.sum()) for keep in kept_units(found, order, len(order), Limits())] == [1, 1]
    for count in range(len(order)):
        stream, inner = kept_units(found, order, count, Limits(multiple=5))
        assert int(stream.sum()) in (5, 8) and int(inner.sum()) in (5, 10, 12)
    with pytest.raises(TersenetError, match="at least 1 channel"):
        Limits(at_least=0)


def test_every_layer_of_a_stream_keeps_its_least_also_the_narrow_ones():
    network = capture(zoo.network("resnet20").eval(), torch.zeros(1, 3, 32, 32))
    found = found_in(network, "layer3*.conv2")
    keeps = kept_units(found, order := removal_order(found, "global"), len(order), Limits(at_least=2))
    smaller = remove_units(network, found, keeps)
    widths = {name: len(smaller.dense(f"{name}.weight")) for name in found[0].group.layers}
    assert min(widths.values()) == 2 and widths["conv1"] == 2


def test_a_resnet_without_filters_inside_and_outside_its_blocks_answers_as_the_silenced_one():
    torch.manual_seed(0)
    network = capture(zoo.network("resnet20"), torch.zeros(1, 3, 32, 32)).eval()
    found = found_in(network)
    keeps = keep_operations(network, found, removal_order(found, "global"), 0.4, Limits())
    twin = network.clone()
    for one, keep in zip(found, keeps):
        for layer, mask in one.group.masks(keep).items():
            for name in (f"{layer.replace('conv', 'bn')}.weight", f"{layer.replace('conv', 'bn')}.bias"):
                twin.set_tensor(name, torch.where(mask, twin.dense(name), torch.zeros(())))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(remove_units(network, found, keeps)(x), twin(x), rtol=1e-5, atol=1e-5)


def test_units_far_below_the_mean_leave(network):
    found = found_in(network)
    scores = torch.tensor([1.0] * 10 + [0.1, 0.2])
    one = dataclasses.replace(found[1], scores=scores.double())
    assert above_deviations([one], 1.0, Limits())[0].tolist() == [True] * 10 + [False] * 2
    assert above_deviations([one], 3.0, Limits())[0].all()
    even = dataclasses.replace(one, scores=torch.ones(12).double())
    assert above_deviations([even], 0.0, Limits())[0].all()


def test_pruned_weights_stay_pruned(network):
    for name in ("stem.weight", "a.weight", "b.weight"):
        attach_pruned(network, name, keep_largest(network.dense(name), 0.5))
    found = found_in(network)
    keeps = keep_shares(network, found, "*", 0.5, Limits())
    smaller = remove_units(network, found, keeps)
    form = smaller.form("a.weight")
    assert isinstance(form, Sparse) and form.density < 1 and smaller.dense("a.weight").shape == (6, 4, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(smaller(X), silenced(network, found, keeps)(X), rtol=1e-5, atol=1e-5)


def test_a_channel_whose_reader_has_another_form_cannot_leave_until_it_is_detached(network):
    share_weights(network, "b.weight", k=4, init="linear", table="float32", seed=0)
    with pytest.raises(TersenetError, match=r"'b\.weight' is stored as Codebook; detach it first"):
        candidates(network, "a", norm_scores(network, 1))
    network.detach("b.weight")
    assert len(candidates(network, "a", norm_scores(network, 1))[0]) == 1


def test_what_cannot_be_is_refused(network):
    scores = norm_scores(network, 1)
    with pytest.raises(
        TersenetError, match="no channel that 'head' names can leave. head keeps its channels: it reaches"
    ):
        candidates(network, "head", scores)
    with pytest.raises(TersenetError, match="no layer matches 'conv9'"):
        candidates(network, "conv9", scores)
    with pytest.raises(TersenetError, match="a keeps its channels: the score does not reach a"):
        candidates(network, "a", {name: one for name, one in scores.items() if name != "a"})
    with pytest.raises(TersenetError, match="scores of 'a' hold NaN"):
        candidates(network, "a", scores | {"a": scores["a"] * np.nan})
    found = found_in(network)
    for share in (0.0, -0.5, 1.5, float("nan")):
        with pytest.raises(TersenetError, match="a share of"):
            keep_shares(network, found, "*", share, Limits())
        with pytest.raises(TersenetError, match="a share of"):
            keep_operations(network, found, removal_order(found, "layer"), share, Limits())
