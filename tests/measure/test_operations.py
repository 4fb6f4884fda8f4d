"""Operations agree with PyTorch's own count, and with the tables of Han et al. 2015."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import capture
from tersenet.measure.operations import LayerOperations, Operations, count_operations
from tersenet.zoo.lenet import LeNet5, LeNet300100


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return torch.softmax(q @ k.transpose(1, 2), -1) @ v


NETS = {
    "lenet_300_100": (LeNet300100, (1, 28, 28)),
    "lenet5": (LeNet5, (1, 28, 28)),
    "grouped": (
        lambda: nn.Conv2d(4, 6, 3, groups=2, stride=2, padding=1, dilation=2, bias=False),
        (4, 9, 11),
    ),
    "depthwise_1d": (lambda: nn.Conv1d(4, 4, 3, groups=4), (4, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 5, 5)),
    "linear_over_sequence": (lambda: nn.Linear(5, 7), (3, 5)),
    "attention": (Attention, (6, 8)),
}


@pytest.mark.parametrize("make, shape", NETS.values(), ids=NETS)
def test_dense_operations_are_those_that_pytorch_counts(make, shape):
    net = make()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, *shape))
    got = count_operations(net, shape)
    assert got.flops_dense == counter.get_total_flops() > 0
    assert got.macs_dense == got.macs_effective == got.flops_dense / 2, "no weight is zero"
    assert got.parameters == sum(parameter.numel() for parameter in net.parameters())


def test_layers_have_the_names_and_numbers_of_the_network():
    got = count_operations(LeNet5(), (1, 28, 28))
    assert [(layer.name, layer.weights, layer.biases, layer.macs_dense) for layer in got] == [
        ("conv1", 500, 20, 500 * 24 * 24),
        ("conv2", 25_000, 50, 25_000 * 8 * 8),
        ("ip1", 400_000, 500, 400_000),
        ("ip2", 5_000, 10, 5_000),
    ]


def test_zeros_in_weights_and_inputs_reduce_what_must_be_computed():
    net = LeNet300100()
    with torch.no_grad():
        net.ip2.weight[:50] = 0
    got = count_operations(net, (1, 28, 28), activation_density={"ip1": 0.25})
    assert got["ip2"].nonzeros == 15_000 and got["ip2"].weight_density == 0.5
    assert got["ip2"].macs_effective == 30_000 * 0.5 * 0.25
    assert got["ip1"].macs_effective == got["ip1"].macs_dense, "the first layer's input is dense"
    with pytest.raises(TersenetError, match="no layer is called ip9; there are ip1, ip2, ip3"):
        got.with_activation_density({"ip9": 1.0})


def test_products_of_two_activations_are_named_as_such_and_have_no_weight():
    got = count_operations(Attention(), (6, 8))
    assert [layer.name for layer in got] == ["qkv", "product"]
    assert got["product"].parameters == 0 and got["product"].macs_dense == 2 * 6 * 6 * 8


def test_a_layer_that_runs_twice_counts_its_operations_twice_and_its_weight_once():
    layer = nn.Linear(6, 6)
    got = count_operations(nn.Sequential(layer, nn.ReLU(), layer), (6,))
    assert [(one.name, one.weights, one.macs_dense) for one in got] == [("0", 36, 72)]


class Functional(nn.Module):
    """Keeps plain tensors in children that are never called, as a network rebuilt from a file does."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.first_form = Doubled()

    def forward(self, x):
        return F.linear(F.linear(x, self.first_form()), self.fc.weight, self.fc.bias)


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.values = nn.Parameter(torch.tensor([[0.0, 1.0], [2.0, 3.0], [0.0, 0.0], [1.0, 1.0]]))

    def forward(self):
        return self.values * 2


def test_weights_that_forms_compute_are_named_and_their_zeros_seen():
    got = count_operations(Functional(), (2,))
    assert [(layer.name, layer.weights, layer.nonzeros) for layer in got] == [("first", 8, 5), ("fc", 12, 12)]


def test_a_network_rebuilt_from_an_op_list_counts_as_the_original_with_forms_too():
    net = LeNet5()
    with torch.no_grad():
        net.ip1.weight[:250] = 0
    rebuilt = capture(net, (torch.zeros(2, 1, 28, 28),))
    expected = count_operations(net, (1, 28, 28))
    assert count_operations(rebuilt, (1, 28, 28)) == expected
    for name in ("conv2.weight", "ip1.weight"):
        rebuilt.attach(name, Sparse.fit(rebuilt.dense(name)))
    assert count_operations(rebuilt, (1, 28, 28)) == expected
    with rebuilt.frozen_weights():
        assert count_operations(rebuilt, (1, 28, 28)).macs_effective == expected.macs_effective


def test_counting_leaves_the_network_as_it_was_and_takes_any_batch():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    got = count_operations(net, inputs=(torch.zeros(5, 4),))
    assert net[1].training and net[1].num_batches_tracked == 0
    assert got.macs_dense == 16, "operations are those of one example"
    with pytest.raises(TersenetError, match="either input_shape or inputs"):
        count_operations(net)


# Weights, MFLOP, activation %, weights %, FLOP % as the paper prints them (arXiv:1506.02626, tables 4 and 5).
ALEXNET = """
conv1 35K 211 88 84 84; conv2 307K 448 52 38 33; conv3 885K 299 37 35 18; conv4 663K 224 40 37 14;
conv5 442K 150 34 37 14; fc1 38M 75 36 9 3; fc2 17M 34 40 9 3; fc3 4M 8 100 25 10"""
VGG16 = """
conv1_1 2K 200 53 58 58; conv1_2 37K 3700 89 22 12; conv2_1 74K 1800 80 34 30; conv2_2 148K 3700 81 36 29;
conv3_1 295K 1800 68 53 43; conv3_2 590K 3700 70 24 16; conv3_3 590K 3700 64 42 29; conv4_1 1M 1800 51 32 21;
conv4_2 2M 3700 45 27 14; conv4_3 2M 3700 34 34 15; conv5_1 2M 925 32 35 12; conv5_2 2M 925 29 29 9;
conv5_3 2M 925 19 36 11; fc6 103M 206 38 4 1; fc7 17M 34 42 4 2; fc8 4M 8 100 23 9"""


@pytest.mark.parametrize("table, weights, flops", [(ALEXNET, 11, 30), (VGG16, 7.5, 21)], ids=["alexnet", "vgg16"])
def test_the_tables_of_han_2015_come_back_within_a_point(table, weights, flops):
    rows = [row.split() for row in table.replace("\n", "").split(";")]
    layers = []
    for name, count, mflop, _, kept, _ in rows:
        elements = int(count[:-1]) * {"K": 1000, "M": 1_000_000}[count[-1]]
        layers.append(
            LayerOperations(
                name=name,
                weights=elements,
                nonzeros=round(elements * float(kept) / 100),
                biases=0,
                macs_dense=int(mflop) * 500_000,
            )
        )
    got = Operations(layers=tuple(layers)).with_activation_density({row[0]: float(row[3]) / 100 for row in rows})
    for layer, row in zip(got, rows, strict=True):
        assert 100 * layer.flops_effective / layer.flops_dense == pytest.approx(float(row[5]), abs=1), layer.name
    assert 100 * got.nonzeros / got.weights == pytest.approx(weights, abs=1)
    assert 100 * got.flops_effective / got.flops_dense == pytest.approx(flops, abs=1)
