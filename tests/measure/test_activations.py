"""Memory beside the weights: what one operation holds at once."""

import torch
from torch import nn

from tersenet.measure.activations import activation_memory


def test_the_peak_is_at_the_layer_with_the_largest_inputs_and_outputs():
    net = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 10)).train()
    got = activation_memory(net, (10,))
    assert (got.peak_layer, got.peak_bytes) == ("1", 4 * 2000)
    assert activation_memory(net, (10,), batch=3).peak_bytes == 3 * 4 * 2000
    assert net.training and not any(module._forward_hooks for module in net.modules())


def test_an_in_place_layer_needs_its_memory_once():
    net = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(inplace=True))
    assert activation_memory(net, (10,)).peak_bytes == 4 * 1010


def test_wider_numbers_take_more():
    assert activation_memory(nn.Linear(10, 90), (10,)).peak_bytes == 400
    assert activation_memory(Cast(nn.Linear(10, 90, dtype=torch.float64)), (10,)).peak_bytes == 800


class Cast(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.double())
