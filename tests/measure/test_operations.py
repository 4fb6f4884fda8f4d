"""Operations agree with PyTorch's own count, on every network of the zoo too."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import capture
from tersenet.measure.operations import count_operations, measure_input_density
from tersenet.zoo import ENTRIES, example_inputs
from tersenet.zoo import network as zoo_network
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


@pytest.mark.parametrize("name", ENTRIES)
def test_every_network_of_the_zoo_counts_as_pytorch_counts_and_no_parameter_is_left_out(name):
    """Under PyTorch's plain attention: its counter knows no formula for the fused one of the CPU, and leaves it out."""
    net, inputs = zoo_network(name).eval(), example_inputs(name, 1)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*inputs)
    got = count_operations(net, inputs=inputs)
    assert got.flops_dense == counter.get_total_flops() > 0
    assert got.parameters == sum(parameter.numel() for parameter in net.parameters())
    held = [*net.parameters(), *net.buffers()]
    assert got.weight_bytes == sum(tensor.nbytes for tensor in held)
    assert len({layer.name for layer in got}) == len(got.layers)


def test_fused_attention_is_what_pytorchs_counter_leaves_out_on_the_cpu():
    net, inputs = zoo_network("stories260k").eval(), example_inputs("stories260k", 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*inputs)
    got = count_operations(net, inputs=inputs)
    products = sum(layer.flops_dense for layer in got if layer.name.endswith(".product"))
    heads, places, size = 8, 256, 8
    assert products == 5 * heads * 2 * (2 * places * places * size), "five layers, q k and its product with v"
    assert got.flops_dense - products == counter.get_total_flops()


def test_attention_and_recurrence_that_pytorch_fuses_are_counted_as_their_products():
    fused = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    attention = count_operations(nn.MultiheadAttention(8, 2), inputs=(torch.zeros(5, 1, 8),) * 3)
    # q, k, v, then 5 places of 4 numbers in 2 heads each way, then the output.
    assert attention.macs_dense * 5 == 3 * 5 * 64 + 2 * 2 * 5 * 5 * 4 + 5 * 64
    recurrent = count_operations(nn.LSTM(8, 16, batch_first=True), (5, 8))
    # The first state is zeros for every input: its product is computed once, and is none of the example's.
    assert recurrent.macs_dense == 5 * 64 * 8 + 4 * 64 * 16
    assert recurrent.parameters == sum(one.numel() for one in nn.LSTM(8, 16).parameters())
    assert fused == (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled)


class Table(nn.Module):
    """An embedding, its own transpose as the last layer or not, and a norm."""

    def __init__(self, tied):
        super().__init__()
        self.embed, self.norm = nn.Embedding(50, 8), nn.LayerNorm(8)
        self.last = nn.Linear(8, 50, bias=False)
        if tied:
            self.last.weight = self.embed.weight

    def forward(self, x):
        return self.last(self.norm(self.embed(x)))


def test_what_multiplies_nothing_has_a_row_too():
    tokens = (torch.zeros(2, 3, dtype=torch.int64),)
    got = count_operations(Table(tied=False), inputs=tokens)
    assert [(one.name, one.weights, one.biases, one.macs_dense) for one in got] == [
        ("last", 400, 0, 3 * 400),
        ("embed", 400, 0, 0),
        ("other tensors", 0, 16, 0),
    ]
    tied = count_operations(Table(tied=True), inputs=tokens)
    assert [(one.name, one.weights) for one in tied][1:] == [("other tensors", 0)]
    assert tied.parameters == 416 and tied.macs_dense == got.macs_dense
    assert count_operations(nn.ReLU(), (3,)).layers == ()


def test_masks_of_torchs_own_pruning_are_seen_as_zeros():
    net = nn.Sequential(nn.Linear(6, 4))
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    [layer, rest] = count_operations(net, (6,))
    assert (layer.name, layer.weights, layer.nonzeros, layer.biases) == ("0", 24, 12, 4)
    assert (rest.parameters, rest.weight_bytes) == (0, 4 * 24), "the mask takes memory, and is no parameter"


def test_a_part_of_a_weight_counts_the_whole_weight_once():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6, 4))

        def forward(self, x):
            return F.linear(x, self.weight[:2]), F.linear(x, self.weight[2:])

    got = count_operations(Parts(), (4,))
    assert (got.weights, got.nonzeros, got.macs_dense) == (24, 24, 24)


def test_a_product_of_two_constants_to_which_the_input_is_added_is_computed_once():
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3, 4))

        def forward(self, x):
            return torch.addmm(x, self.left, self.right)

    got = count_operations(Added(), (4,))
    assert got.macs_dense == 0 and got.parameters == 6 + 12


def test_input_densities_are_measured_over_all_batches():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.diag(torch.tensor([1.0, 1.0, -1.0, -1.0])))
    batches = [(torch.ones(3, 4),), (torch.tensor([[1.0, 0.0, 0.0, 0.0]]),)]
    found = measure_input_density(net, batches)
    assert found == {"0": 13 / 16, "2": 7 / 16}
    counted = count_operations(net, (4,)).with_input_density(found)
    assert counted["2"].macs_effective == 8 * 7 / 16


@pytest.mark.parametrize(
    ("batches", "said"),
    [([], "no density could be measured"), ([(torch.tensor([[1.0, float("nan")]]),)], "NaN or infinite")],
    ids=["empty", "nan"],
)
def test_densities_of_nothing_or_of_nan_are_refused(batches, said):
    with pytest.raises(TersenetError, match=said):
        measure_input_density(nn.Linear(2, 2), batches)


def test_a_density_outside_0_to_1_is_refused():
    counted = count_operations(nn.Sequential(nn.Linear(2, 2)), (2,))
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(TersenetError, match="expected a share of 0 to 1"):
            counted.with_input_density({"0": share})
