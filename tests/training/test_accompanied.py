"""What accompanies a network trains with it, and is not the network."""

from __future__ import annotations

import torch
from torch import nn

from tersenet.training import TrainConfig, fit
from tersenet.training.accompanied import Accompanied, network_of


def test_companions_train_and_penalties_are_for_the_network_alone(Memory):
    torch.manual_seed(0)
    network, companion = nn.Linear(4, 3), nn.Linear(3, 3)
    data = Memory(torch.randn(8, 4), torch.arange(8) % 3)
    both = Accompanied(network, companion)
    before = companion.weight.detach().clone()
    extras = []

    def extra(model):
        extras.append(model)
        return torch.zeros(())

    fit(
        both,
        data,
        None,
        TrainConfig(epochs=1, batch_size=8),
        seed=0,
        criterion=lambda outputs, target, inputs: companion(outputs).square().mean(),
        loss_extra=extra,
    )
    assert not torch.equal(companion.weight, before)
    assert extras == [network] and network_of(both) is network and network_of(network) is network
    assert torch.equal(both(data.x), network(data.x))
