"""Pruning keeps the largest weights, as many as asked for, and refuses to keep none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import capture
from tersenet.methods.patterns import Blocks, Neighbours
from tersenet.methods.prune import Rule, attach_pruned, keep_largest, quality_threshold

WEIGHTS = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(values=WEIGHTS, keep=st.floats(0.001, 1))
def test_the_asked_for_share_stays_and_nothing_that_stays_is_smaller_than_what_goes(values, keep):
    weight = torch.tensor(values)
    pruned = keep_largest(weight, keep)
    count = max(round(keep * len(values)), 1)
    stays = pruned != 0
    assert int(stays.sum()) <= count
    assert int(stays.sum()) == min(count, int((weight != 0).sum())) or bool((weight == 0).any())
    assert torch.equal(pruned[stays], weight[stays])
    if bool(stays.any()) and not bool(stays.all()):
        assert float(weight[stays].abs().min()) >= float(weight[~stays].abs().max()) or bool((weight == 0).any())


def test_ties_keep_the_first_so_that_the_count_is_exact():
    assert keep_largest(torch.ones(5), 0.4).tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.0001, float("nan")])
def test_a_fraction_outside_the_half_open_interval_is_refused(keep):
    with pytest.raises(TersenetError, match="expected more than 0 and at most 1"):
        keep_largest(torch.ones(3), keep)


def test_the_threshold_is_quality_times_the_deviation_of_what_is_left():
    weight = torch.tensor([0.0, 0.0, 3.0, -1.0, 1.0, -3.0])
    deviation = float(torch.tensor([3.0, -1.0, 1.0, -3.0]).std(correction=0))
    assert quality_threshold(weight, 0.5) == pytest.approx(deviation / 2)
    assert quality_threshold(torch.zeros(3), 0.5) == 0


def _two_layers():
    torch.manual_seed(0)
    return capture(torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 4)), torch.zeros(2, 8))


def _scores(network):
    return {layer.weight: network.dense(layer.weight).abs() for layer in network.weighted_layers()}


def test_what_is_at_the_threshold_goes_and_at_zero_only_zeros_do():
    network, scores = _two_layers(), {"0.weight": torch.tensor([[0.0, 0.5, 0.75, 1e-30]])}
    assert Rule(threshold=0.5).masks(network, scores)["0.weight"].tolist() == [[False, False, True, False]]
    assert Rule(threshold=0.0).masks(network, scores)["0.weight"].tolist() == [[False, True, True, True]]


def test_tables_say_how_much_of_each_layer_stays_and_now_how_much_by_now():
    network = _two_layers()
    scores = _scores(network)
    counts = {
        name: int(mask.sum())
        for name, mask in Rule(keep={"last": 0.5, "*": 0.25}).masks(network, scores, lambda keep: keep**0.5).items()
    }
    assert counts == {"0.weight": round(48 * 0.5), "1.weight": round(24 * 0.5**0.5)}
    masks = Rule(quality={"0": 0.0, "*": 1.0}).masks(network, scores)
    assert bool(masks["0.weight"].all())
    deviation = network.dense("1.weight").std(correction=0)
    assert torch.equal(masks["1.weight"], scores["1.weight"] > float(deviation))
    joint = Rule(keep=0.5, together=True).masks(network, scores)
    assert sum(int(mask.sum()) for mask in joint.values()) == (48 + 24) // 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "none came"),
        ({"keep": 0.5, "threshold": 0.1}, "keep and threshold came"),
        ({"pattern": Neighbours(2, 4), "keep": 0.5}, "2:4 says how many weights of each row stay; drop keep"),
        ({"pattern": Neighbours(2, 4), "together": True}, "drop the threshold for all"),
        ({"pattern": Blocks(2, 4), "quality": 0.5}, "blocks of 2x4 need keep.*drop quality"),
        ({"together": True, "keep": {"*": 0.5}}, "one keep-fraction for all"),
        ({"together": True, "quality": 0.5}, "one keep-fraction for all"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(TersenetError, match=sentence):
        Rule(**settings)


@pytest.mark.parametrize("bad", [-1, float("nan")])
def test_thresholds_below_zero_and_nan_are_refused(bad):
    network = _two_layers()
    for rule in (Rule(quality=bad), Rule(threshold=bad)):
        with pytest.raises(TersenetError, match="expected 0 or more"):
            rule.masks(network, _scores(network))


@pytest.mark.parametrize(
    "rule", [Rule(keep=0.5), Rule(keep=0.5, together=True), Rule(quality=1.0), Rule(threshold=0.1)]
)
def test_weights_that_are_nan_are_refused_and_not_taken_for_small_ones(rule):
    network = _two_layers()
    with torch.no_grad():
        network.layer("1").weight[0, 0] = float("nan")
    with pytest.raises(TersenetError, match="are NaN"):
        rule.masks(network, _scores(network))


def test_neighbours_of_a_weight_whose_rows_do_not_read_the_inputs_are_refused():
    network = capture(torch.nn.Embedding(5, 8), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(TersenetError, match="2:4 is for rows that read the inputs, and '.*' is embedding"):
        Rule(pattern=Neighbours(2, 4)).masks(network, _scores(network))
    blocks = Rule(pattern=Blocks(1, 4), keep=0.5).masks(network, _scores(network))
    assert int(blocks["weight"].sum()) == 20


def test_pruned_weights_are_held_as_their_nonzeros_and_nothing_left_is_refused():
    net = capture(torch.nn.Linear(6, 4), torch.zeros(2, 6))
    attach_pruned(net, "weight", keep_largest(net.dense("weight"), 0.25))
    form = net.form("weight")
    assert isinstance(form, Sparse)
    assert form.values().numel() == 6
    attach_pruned(net, "weight", keep_largest(net.dense("weight"), 0.1))
    assert int(torch.count_nonzero(net.dense("weight"))) == 2
    with pytest.raises(TersenetError, match="leaves nothing of 'weight'"):
        attach_pruned(net, "weight", torch.zeros(4, 6))
