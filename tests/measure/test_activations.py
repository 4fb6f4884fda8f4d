"""Memory beside the weights: what is held at once while a network runs."""

import torch
from torch import nn

from tersenet.graph import capture
from tersenet.measure.activations import activation_memory


def peak(net, *shape, batch=1):
    found = activation_memory(net, (torch.zeros(batch, *shape),))
    return found.peak_layer, found.peak_bytes


def test_the_peak_is_at_the_layer_with_the_largest_inputs_and_outputs():
    net = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 10)).train()
    assert peak(net, 10) == ("1", 4 * 2000)
    assert peak(net, 10, batch=3) == ("1", 3 * 4 * 2000)
    assert net.training and not any(module._forward_hooks for module in net.modules())


def test_an_in_place_layer_needs_its_memory_once():
    assert peak(nn.Sequential(nn.Linear(10, 1000), nn.ReLU(inplace=True)), 10) == ("0", 4 * 1010)


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Linear(100, 10), nn.Linear(10, 100)

    def forward(self, x):
        return x + self.wide(self.narrow(x))


def test_what_a_skip_connection_keeps_counts_until_it_is_read():
    assert peak(Skip(), 100)[1] == 4 * 300, "the input, the branch and their sum"
    straight = nn.Sequential(nn.Linear(100, 10), nn.Linear(10, 100), nn.ReLU())
    assert peak(straight, 100)[1] == 4 * 200, "without the sum the input is gone by then"


def test_results_that_nothing_reads_take_no_memory():
    """max_pool2d says where each maximum was, in int64."""
    assert peak(nn.MaxPool2d(2), 1, 8, 8)[1] == 4 * (64 + 16)


class TwoOutputs(nn.Module):
    def forward(self, x):
        wide = x.repeat(1, 10)
        return wide, (wide * 2).sum(1)


def test_an_output_is_kept_to_the_end():
    assert peak(TwoOutputs(), 10)[1] == 4 * (100 + 100 + 1)


def test_the_inputs_of_a_slice_are_those_of_the_slice():
    data = torch.zeros(1000, 10)
    assert activation_memory(nn.ReLU(), (data[:1],)).peak_bytes == 4 * 20


def test_a_network_that_computes_nothing_holds_its_input():
    assert peak(nn.Identity(), 5) == ("input", 20)


def test_an_operation_without_a_layer_is_named_by_the_one_before():
    net = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 10))
    assert peak(capture(net, torch.zeros(2, 10)), 10) == ("after 0", 4 * 2000)


def test_wider_numbers_take_more():
    assert peak(nn.Linear(10, 90), 10)[1] == 400
    wide = activation_memory(nn.Linear(10, 90).double(), (torch.zeros(1, 10, dtype=torch.float64),))
    assert wide.peak_bytes == 800
