"""Pruning keeps the largest weights, as many as asked for, and refuses to keep none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import capture
from tersenet.methods.prune import above_threshold, attach_pruned, global_keep, keep_largest

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
    for attempt in (lambda: keep_largest(torch.ones(3), keep), lambda: global_keep({"a": torch.ones(3)}, keep)):
        with pytest.raises(TersenetError, match="expected more than 0 and at most 1"):
            attempt()


def test_the_threshold_is_quality_times_the_deviation_of_what_is_left():
    weight = torch.tensor([0.0, 0.0, 3.0, -1.0, 1.0, -3.0])
    deviation = float(torch.tensor([3.0, -1.0, 1.0, -3.0]).std(correction=0))
    assert above_threshold(weight, 0.99 / deviation).tolist() == weight.tolist()
    assert above_threshold(weight, 1.01 / deviation).tolist() == [0, 0, 3, 0, 0, -3]
    with pytest.raises(TersenetError, match="expected 0 or more"):
        above_threshold(weight, -1)


def test_one_global_threshold_takes_from_where_the_small_ones_are():
    pruned = global_keep({"large": torch.full((4,), 2.0), "small": torch.full((2, 6), 0.1)}, 0.25)
    assert int((pruned["large"] != 0).sum()) == 4
    assert not pruned["small"].any()
    assert pruned["small"].shape == (2, 6)


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
