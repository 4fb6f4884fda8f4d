"""Sharing and rounding: zeros stay, few values are left, what does not fit float16 is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Sparse
from tersenet.graph import capture
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.round import round_others
from tersenet.methods.share import share_weights


@pytest.fixture()
def net():
    torch.manual_seed(0)
    return capture(
        nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.BatchNorm1d(30), nn.Linear(30, 4)), torch.zeros(2, 20)
    )


@pytest.mark.parametrize("init", ["forgy", "density", "linear", "optimum"])
def test_at_most_k_values_are_left_and_zeros_stay(net, init):
    attach_pruned(net, "0.weight", keep_largest(net.dense("0.weight"), 0.3))
    before = net.dense("0.weight") == 0
    assert share_weights(net, "0.weight", k=8, init=init, table="float32", seed=0) <= 8
    shared = net.dense("0.weight")
    assert torch.equal(shared == 0, before)
    assert len(shared[shared != 0].unique()) <= 8
    assert isinstance(net.form("0.weight"), Sparse)
    assert isinstance(net.form("0.weight").values, Codebook)


def test_a_dense_weight_is_shared_without_places(net):
    share_weights(net, "3.weight", k=4, init="linear", table="float16", seed=0)
    assert isinstance(net.form("3.weight"), Codebook)


def test_more_values_than_weights_are_reduced_to_the_distinct_ones(net):
    assert share_weights(net, "3.weight", k=256, init="optimum", table="float32", seed=0) == 120
    with pytest.raises(TersenetError, match="at least 1 is needed"):
        share_weights(net, "3.weight", k=0, init="linear", table="float32", seed=0)


@pytest.mark.parametrize(("eps", "vanishes"), [(1e-5, True), (1e-8, False)])
def test_rounding_touches_what_is_not_a_weight_and_no_variance_that_divides_alone(eps, vanishes):
    net = capture(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, eps=eps), nn.Linear(5, 4)), torch.zeros(2, 6))
    with torch.no_grad():
        net.layer("1").running_var[3] = 1e-9
        net.layer("1").running_mean.fill_(1 / 3)
    weights = {name: net.dense(name).clone() for name in ("0.weight", "2.weight")}
    round_others(net)
    for name, weight in weights.items():
        assert torch.equal(net.dense(name), weight)
    for name in ("0.bias", "2.bias", "1.weight", "1.running_mean"):
        value = net.dense(name)
        assert torch.equal(value, value.half().float())
    assert (float(net.dense("1.running_var")[3]) == 0) is vanishes


def test_a_value_beyond_float16_is_refused_by_name(net):
    with torch.no_grad():
        net.layer("0").bias[0] = 1e6
    with pytest.raises(TersenetError, match=r"'0.bias' holds 1e\+06"):
        round_others(net)
