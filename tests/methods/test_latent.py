"""Latent weights in a network: put in place whole or on what is kept, and settled without changing an answer."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from tersenet.forms import Binary, Latent, Sparse
from tersenet.graph import capture
from tersenet.methods.latent import attach_whole, settle


def _network():
    torch.manual_seed(0)
    return capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.zeros(2, 4))


def test_settling_changes_no_answer_and_leaves_no_latent_weights():
    network = _network()
    pruned = network.dense("2.weight").clone()
    pruned[:, ::2] = 0
    network.attach("2.weight", Sparse.fit(pruned))
    for name in ("0.weight", "2.weight"):
        attach_whole(network, name, partial(Latent.fit, fit=Binary.fit))
    x = torch.randn(5, 4)
    before = network(x)
    settle(network)
    assert torch.equal(network(x), before)
    assert not any(isinstance(module, Latent) for module in network.modules())
    assert torch.equal(network.dense("2.weight") == 0, pruned == 0)


def test_a_few_zeros_of_a_dense_weight_are_values_like_any_other():
    network = _network()
    weight = network.dense("0.weight").clone()
    weight[0, 0] = 0
    network.set_tensor("0.weight", weight)
    attach_whole(network, "0.weight", Binary.fit)
    assert isinstance(network.form("0.weight"), Binary)
