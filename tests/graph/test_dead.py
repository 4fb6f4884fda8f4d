"""Neurons that do nothing leave, and the answer stays."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from structures import HARD, build, some_masks
from torch import Tensor, nn

from tersenet import zoo
from tersenet.graph import Network, capture, remove_dead
from tersenet.graph.dead import ROUNDING
from tersenet.graph.plan import operator
from tersenet.ir import OPS, make_node
from tersenet.ir.ops import ELEMENTWISE_ONE


def kill(network: Network, name: str, rows=(), columns=()) -> None:
    tensor = network.dense(name).clone()
    tensor[list(rows)] = 0
    if len(columns):
        tensor[:, list(columns)] = 0
    network.set_tensor(name, tensor)


def mlp() -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3))
    return capture(model.eval(), torch.randn(2, 6))


X = torch.randn(7, 6, generator=torch.Generator().manual_seed(2))


def check(network: Network, x: Tensor, **shapes: tuple[int, ...]) -> Network:
    smaller = remove_dead(network)
    for name, shape in shapes.items():
        assert tuple(smaller.dense(f"{name.strip('_')}.weight").shape) == shape, name
    torch.testing.assert_close(smaller.eval()(x), network.eval()(x), rtol=1e-5, atol=1e-6)
    return smaller


def test_a_neuron_that_nobody_reads_leaves():
    network = mlp()
    kill(network, "2.weight", columns=[1, 3])
    check(network, X, _0=(3, 6), _2=(4, 3))


def test_a_neuron_without_input_becomes_a_bias_where_there_was_none():
    network = mlp()
    kill(network, "0.weight", rows=[0, 4])
    smaller = check(network, X, _0=(3, 6), _2=(4, 3))
    assert list(smaller.graph.parameters) == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
        "4.weight",
        "4.bias",
    ]
    assert smaller.dense("2.bias").abs().sum() > 0


def test_death_spreads_until_nothing_changes():
    network = mlp()
    kill(network, "2.weight", rows=[0, 1, 2])
    kill(network, "0.weight", rows=[])
    kill(network, "2.weight", columns=[1, 2, 3, 4])  # only neuron 0 is read, by row 3
    check(network, X, _0=(1, 6), _2=(1, 1), _4=(3, 1))


def test_a_lively_network_is_copied():
    network = mlp()
    same = remove_dead(network)
    assert same is not network and same.graph == network.graph
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), network.state_dict().values()))


def test_at_least_one_neuron_stays():
    network = mlp()
    kill(network, "0.weight", rows=range(5))
    kill(network, "2.weight", rows=range(4))
    check(network, X, _0=(1, 6), _2=(1, 1), _4=(3, 1))


class Net(nn.Module):
    def __init__(self, padding: int, activation: nn.Module) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 6, 3)
        self.bn = nn.BatchNorm2d(6)
        self.act = activation
        self.b = nn.Conv2d(6, 4, 3, padding=padding)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(F.relu(self.b(self.act(self.bn(self.a(x)))))).flatten(1))


def conv(padding: int, shift: float, activation: nn.Module | None = None) -> tuple[Network, Tensor]:
    torch.manual_seed(1)
    model = Net(padding, activation or nn.ReLU())
    x = torch.randn(3, 2, 10, 10)
    model.eval()(x)
    model.bn.running_mean.normal_()
    with torch.no_grad():
        model.bn.bias.fill_(shift)
    network = capture(model, x)
    kill(network, "a.weight", rows=[1, 2])
    bias = network.dense("a.bias").clone()
    bias[[1, 2]] = network.dense("bn.running_mean")[[1, 2]]  # so that BatchNorm gives its shift
    network.set_tensor("a.bias", bias)
    return network, x


def test_a_constant_channel_goes_into_the_bias_of_an_unpadded_convolution():
    network, x = conv(0, 0.7)
    smaller = check(network, x, a=(4, 2, 3, 3), b=(4, 4, 3, 3))
    assert smaller.dense("bn.running_mean").shape == (4,)


def test_a_constant_channel_stays_before_a_padded_convolution():
    check(*conv(1, 0.7), a=(6, 2, 3, 3), b=(4, 6, 3, 3))


def test_a_channel_that_is_always_zero_leaves_also_before_a_padded_convolution():
    check(*conv(1, -0.7), a=(4, 2, 3, 3), b=(4, 4, 3, 3))


def test_a_channel_behind_a_flatten_goes_into_the_bias_of_the_linear_layer():
    network, x = conv(0, 0.7)
    kill(network, "b.weight", rows=[3])
    network.set_tensor("b.bias", torch.tensor([0.1, 0.2, 0.3, 0.4]))
    check(network, x, b=(3, 4, 3, 3), fc=(3, 27))


def test_a_residual_sum_is_constant_only_where_both_sides_are():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(F.gelu(self.a(x) + F.relu(self.b(x)) * 2))

    network = capture(Two().eval(), X)
    kill(network, "a.weight", rows=[0, 1])
    kill(network, "b.weight", rows=[1, 2])
    check(network, X, a=(3, 6), b=(3, 6), out=(2, 3))


def test_a_depthwise_channel_dies_with_its_input():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    x = torch.randn(2, 2, 6, 6)
    network = capture(model.eval(), x)
    kill(network, "0.weight", rows=[2])
    check(network, x, _0=(3, 2, 1, 1), _1=(3, 1, 3, 3), _3=(2, 3, 1, 1))


def test_a_weight_that_is_read_twice_takes_no_constant():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.a(x)) + self.out(self.b(x))

    network = capture(Twice().eval(), X)
    kill(network, "a.weight", rows=[0])
    kill(network, "b.weight", rows=[0])
    check(network, X, a=(4, 6))


def test_a_pruned_reference_network_keeps_its_answers():
    torch.manual_seed(0)
    network = capture(zoo.network("lenet_300_100"), zoo.example_inputs("lenet_300_100"))
    for layer in network.weighted_layers()[:2]:
        dense = network.dense(layer.weight)
        kept = dense.abs() > dense.abs().flatten().kthvalue(int(dense.numel() * 0.992)).values
        network.set_tensor(layer.weight, dense * kept)
    smaller = remove_dead(network)
    x = zoo.example_inputs("lenet_300_100", 4)
    torch.testing.assert_close(smaller(*x), network(*x), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in smaller.parameters()) < 0.95 * sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", HARD)
@torch.no_grad()
def test_a_network_with_rows_and_columns_of_zeros_keeps_its_answers(name):
    network, example = build(name)
    before = sum(tensor.numel() for tensor in network.parameters())
    masks, others = some_masks(network, 0), some_masks(network, 1)
    for layer in network.weighted_layers():
        axis = 1 if layer.op in ("embedding", "conv_transpose2d") else 0
        for tensor, at, keep in (
            (layer.weight, axis, masks.get(layer.name)),
            (layer.bias, 0, masks.get(layer.name)),
            (layer.weight, 1 - axis, others.get(layer.name)),
        ):
            if tensor is not None and keep is not None:
                dense = network.dense(tensor).clone()
                zero = torch.zeros(dense.shape[at], dtype=torch.bool)
                zero[: len(keep)] = ~keep[: len(zero)]
                dense.movedim(at, 0)[zero] = 0
                network.set_tensor(tensor, dense)
    smaller = remove_dead(network)
    found, expected = (one if isinstance(one, tuple) else (one,) for one in (smaller(*example), network(*example)))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert sum(tensor.numel() for tensor in smaller.parameters()) <= before


@pytest.mark.parametrize("name", sorted(ELEMENTWISE_ONE - ROUNDING - {"dropout", "feature_dropout", "to_float"}))
@pytest.mark.parametrize("size", [1, 3, 64])
def test_unknown_stays_unknown_through_every_activation(name, size):
    op = OPS[name]
    x = torch.full((1, size), float("nan"))
    arguments = [
        {"min": -1.0, "max": 1.0, "other": 1.0, "exponent": 2}.get(a.name, a.default) for a in op.arguments[1:]
    ]
    if name == "gelu":
        assert operator(op.target)(x).isnan().all()
    elif name.endswith("_scalar"):
        assert operator(op.target)(x, arguments[0]).isnan().all()
    else:
        assert operator(op.target)(x, *arguments).isnan().all()


class _Signs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.second(self.first(x).sign())


def _rounded(op):
    """Two layers with the operation between them; torch.export does not trace fake_quantize."""
    torch.manual_seed(0)
    network = capture(_Signs().eval(), torch.randn(2, 6))
    if op == "sign":
        return network
    rounds = {"scale": 0.1, "zero_point": 0, "quant_min": -128, "quant_max": 127}
    nodes = tuple(
        make_node(op, **node.arguments, **rounds) if node.op == "sign" else node for node in network.graph.nodes
    )
    return Network(replace(network.graph, nodes=nodes), network.tensors()).eval()


@pytest.mark.parametrize("op", sorted(ROUNDING))
def test_what_makes_numbers_of_unknowns_is_not_taken_for_constant(op):
    network = _rounded(op)
    assert any(node.op == op for node in network.graph.nodes)
    assert len(remove_dead(network).dense("first.weight")) == 5
    kill(network, "second.weight", columns=[1])
    smaller = remove_dead(network)
    assert len(smaller.dense("first.weight")) == 4
    x = torch.randn(7, 6)
    torch.testing.assert_close(smaller(x), network(x))


def test_batchnorm_without_running_statistics_is_passed_by():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 4), nn.Linear(4, 3)
    )
    network = capture(model.eval(), torch.randn(2, 6))
    kill(network, "2.weight", columns=[1])
    kill(network, "3.weight", columns=[0])
    check(network, X, _0=(4, 6), _2=(3, 4))
