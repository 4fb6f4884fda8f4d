"""Pruned neurons leave before their weights are stored."""

import torch
from torch import nn

from tersenet.forms import Sparse
from tersenet.graph import Network, capture
from tersenet.methods.dead import lost_units, remove_dead_units
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.share import share_weights

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def pruned() -> Network:
    torch.manual_seed(0)
    network = capture(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), X)
    readers = network.dense("2.weight").clone()
    readers[:, [1, 4]] = 0
    attach_pruned(network, "2.weight", readers)
    attach_pruned(network, "0.weight", keep_largest(network.dense("0.weight"), 0.5))
    return network.eval()


def test_neurons_that_nobody_reads_leave_and_pruned_weights_stay_pruned():
    network = pruned()
    smaller = remove_dead_units(network)
    assert smaller.dense("0.weight").shape == (6, 6) and smaller.dense("2.weight").shape == (3, 6)
    assert isinstance(smaller.form("0.weight"), Sparse) and isinstance(smaller.form("2.weight"), Sparse)
    torch.testing.assert_close(smaller(X), network(X), rtol=1e-5, atol=1e-6)
    assert lost_units(network, smaller) == ["0: 2 of 8 outputs were dead and left"]
    assert network.dense("0.weight").shape == (8, 6)


def test_a_stored_weight_keeps_its_shape():
    network = pruned()
    share_weights(network, "2.weight", k=4, init="linear", table="float32", seed=0)
    smaller = remove_dead_units(network)
    assert smaller.dense("2.weight").shape == (3, 8) and lost_units(network, smaller) == []
    torch.testing.assert_close(smaller(X), network(X))
