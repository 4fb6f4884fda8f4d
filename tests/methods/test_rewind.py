"""Rewinding gives earlier values bit for bit, keeps the zeros, and is refused where values cannot go back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import capture
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.rewind import rewind
from tersenet.methods.share import share_weights


def _network(seed, hidden=8):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(6, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 3))
    nn.init.normal_(layers[1].running_mean)
    return capture(layers, torch.zeros(2, 6))


def test_everything_goes_back_bit_for_bit_but_the_zeros_of_pruned_weights():
    earlier, network = _network(0), _network(1)
    attach_pruned(network, "0.weight", keep_largest(network.dense("0.weight"), 0.25))
    mask = network.dense("0.weight") != 0
    rewind(network, earlier)
    assert isinstance(network.form("0.weight"), Sparse)
    for name, value in earlier.tensors().items():
        expected = torch.where(mask, value, 0.0) if name == "0.weight" else value
        assert network.dense(name).numpy().tobytes() == expected.numpy().tobytes(), name
    with torch.no_grad():
        network.layer("3").weight.zero_()
    assert bool(earlier.dense("3.weight").any()), "nothing is shared with the earlier network"


def test_other_shapes_and_forms_that_cannot_take_values_are_refused():
    with pytest.raises(TersenetError, match=r"'0.bias' is 8 here and 9 in the network to rewind to"):
        rewind(_network(0), _network(1, hidden=9))
    other = capture(nn.Linear(6, 3), torch.zeros(2, 6))
    with pytest.raises(TersenetError, match=r"'0.bias' is 8 here and absent in"):
        rewind(_network(0), other)
    shared = _network(0)
    share_weights(shared, "3.weight", k=4, init="linear", table="float32", seed=0)
    with pytest.raises(TersenetError, match=r"'3.weight' is stored as Codebook, which cannot go back"):
        rewind(shared, _network(1))
