"""A rebuilt network: names, forms, modes, copies, and what it refuses."""

import copy

import pytest
import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.graph import Around, Network, capture
from tersenet.ir import Graph, Input, Parameter, Value, make_node


class Signs(nn.Module):
    """A form: signs that are fixed, one scale that trains."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("signs", weight.detach().sign())
        self.scale = nn.Parameter(weight.detach().abs().mean())
        self.calls = 0

    def forward(self) -> Tensor:
        self.calls += 1
        return self.signs * self.scale


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    return capture(model, torch.randn(2, 1, 4, 4))


X = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_a_form_takes_the_place_of_the_parameter(network):
    form = Signs(network.dense("0.weight"))
    network.attach("0.weight", form)
    names = set(network.state_dict())
    assert "0.weight" not in names and {"0.weight_form.signs", "0.weight_form.scale"} <= names
    assert network.form("0.weight") is form and network.forms() == {"0.weight": form}
    assert any(parameter is form.scale for parameter in network.parameters())
    assert torch.equal(network.layer("0").weight, form()) and torch.equal(network.dense("0.weight"), form())
    assert not network.dense("0.weight").requires_grad


def test_the_answer_is_that_of_the_dense_weight(network):
    form = Signs(network.dense("4.weight"))
    twin = network.clone()
    twin.set_tensor("4.weight", form().detach())
    network.attach("4.weight", form)
    assert torch.equal(network.eval()(X), twin.eval()(X))
    network.detach("4.weight")
    assert network.form("4.weight") is None and torch.equal(network(X), twin(X))
    assert isinstance(network.layer("4").weight, nn.Parameter)


def test_gradients_reach_the_form_and_sum_over_its_weights(network):
    twin = network.clone()
    form = Signs(network.dense("4.weight"))
    twin.set_tensor("4.weight", form().detach())
    network.attach("4.weight", form)
    network.eval()(X).square().sum().backward()
    twin.eval()(X).square().sum().backward()
    torch.testing.assert_close(form.scale.grad, (twin.layer("4").weight.grad * form.signs).sum())


def test_a_form_is_computed_once_per_pass_also_where_the_weight_is_shared():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    network = capture(model, torch.randn(2, 3))
    form = Signs(network.dense("0.weight"))
    network.attach("0.weight", form)
    form.calls = 0
    network(torch.randn(2, 3))
    assert form.calls == 1


def test_frozen_weights_are_computed_once_for_many_passes(network):
    form = Signs(network.dense("0.weight"))
    network.attach("0.weight", form)
    expected = network.eval()(X)
    form.calls = 0
    with network.frozen_weights():
        assert torch.equal(network(X), expected) and torch.equal(network(X), expected)
        assert not network(X).requires_grad
    assert form.calls == 1
    with torch.no_grad():
        form.scale.mul_(2)
    assert not torch.equal(network(X), expected)


def test_a_weight_held_by_a_form_refuses_assignment(network):
    network.attach("0.weight", Signs(network.dense("0.weight")))
    for value in (torch.zeros(2, 1, 3, 3), nn.Parameter(torch.zeros(2, 1, 3, 3))):
        with pytest.raises(TersenetError, match="weight 'weight' is stored as Signs; detach it first"):
            network.layer("0").weight = value
    with pytest.raises(TersenetError, match=r"'0\.weight' is stored as Signs; detach it first"):
        network.set_tensor("0.weight", torch.zeros(2, 1, 3, 3))
    with pytest.raises(TersenetError, match="already"):
        network.attach("0.weight", Signs(torch.zeros(2, 1, 3, 3)))
    network.layer("0").bias = nn.Parameter(torch.zeros(2))
    assert network.dense("0.bias").abs().sum() == 0


def test_a_form_of_another_shape_is_refused_and_nothing_changes(network):
    before = set(network.state_dict())
    with pytest.raises(TersenetError, match=r"shape \(3, 3\).*'0.weight' of shape \(2, 1, 3, 3\)"):
        network.attach("0.weight", Signs(torch.ones(3, 3)))
    assert set(network.state_dict()) == before


@pytest.mark.parametrize("name", ["1.running_mean", "nothing.weight", "0.weight_form"])
def test_only_parameters_take_a_form(network, name):
    with pytest.raises(TersenetError, match=name):
        network.attach(name, Signs(torch.ones(2)))


def test_a_dense_weight_cannot_be_detached(network):
    with pytest.raises(TersenetError, match="dense already"):
        network.detach("0.weight")


@pytest.mark.parametrize("copied", [copy.deepcopy, Network.clone])
def test_a_copy_shares_nothing(network, copied):
    network.attach("0.weight", Signs(network.dense("0.weight")))
    twin = copied(network)
    expected = network.eval()(X)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.add_(1)
    assert torch.equal(twin.eval()(X), expected) and not torch.equal(network(X), expected)
    twin.train()
    assert not network.training and not network.layer("1").training


def test_state_goes_from_one_network_to_another(network):
    twin = network.clone()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.normal_()
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin.eval()(X), network.eval()(X))


def test_it_moves_to_another_dtype(network):
    torch.testing.assert_close(network.clone().eval().double()(X.double()).float(), network.eval()(X))


def test_functional_call_and_export_work_on_the_plain_module(network):
    zeros = {name: torch.zeros_like(parameter) for name, parameter in network.named_parameters()}
    assert torch.func.functional_call(network.plain().eval(), zeros, (X,)).abs().sum() == 0
    exported = torch.export.export(network.plain().eval(), (X,))
    assert set(exported.state_dict) == set(network.state_dict())
    assert torch.equal(exported.module()(X), network(X))


def test_weighted_layers_are_listed_in_forward_order(network):
    layers = network.weighted_layers()
    assert [(one.name, one.op, one.weight, one.bias) for one in layers] == [
        ("0", "conv2d", "0.weight", "0.bias"),
        ("4", "linear", "4.weight", "4.bias"),
    ]
    assert [network.graph.nodes[one.index].op for one in layers] == ["conv2d", "linear"]


def test_a_watcher_sees_input_and_output_of_its_node(network):
    seen = {}
    layers = network.weighted_layers()
    result = network.eval().watch(
        (X,), {one.index: lambda x, y, n=one.name: seen.update({n: (x, y)}) for one in layers}
    )
    assert torch.equal(seen["0"][0], X) and torch.equal(seen["4"][1], result) and seen["4"][0].shape == (5, 8)


def test_values_that_nothing_reads_any_more_are_let_go(network):
    import gc

    kept = []
    with torch.no_grad():
        network.watch((X,), {4: lambda x, y: kept.append(sum(o.shape == (5, 2, 2, 2) for o in _tensors(gc)))})
    assert kept[0] <= 1  # what flatten read; the outputs of conv, batch_norm are gone


def _tensors(gc):
    return [one for one in gc.get_objects() if type(one) is Tensor]


@pytest.mark.parametrize(
    "inputs, sentence",
    [
        ((X, X), "2 inputs came; the network reads 1: input"),
        ((X[0],), r"shape \(1, 4, 4\); expected \(batch, 1, 4, 4\)"),
        ((torch.randn(2, 1, 5, 4),), "expected"),
    ],
)
def test_wrong_inputs_are_refused(network, inputs, sentence):
    with pytest.raises(TersenetError, match=sentence):
        network(*inputs)


def test_an_input_that_is_no_tensor_is_refused(network):
    with pytest.raises(TersenetError, match="input 'input' is a list"):
        network.watch(([1.0],), {})


def test_tensors_that_do_not_fit_the_graph_are_named():
    graph = Graph(
        (Input("x", "float32", (3,)),),
        (make_node("linear", input=Value(0), weight=Parameter("weight")),),
        (Value(1),),
        ("output",),
        {"weight": "float32"},
    )
    with pytest.raises(TersenetError, match="missing weight, not in the graph wieght"):
        Network(graph, {"wieght": torch.ones(2, 3)})
    network = Network(graph, {"weight": torch.ones(2, 3)})
    assert torch.equal(network(torch.ones(1, 3)), torch.full((1, 2), 3.0))
    with pytest.raises(TersenetError, match="float64"):
        network.set_tensor("weight", torch.ones(2, 3, dtype=torch.float64))


def test_whole_numbers_and_truth_values_are_buffers():
    graph = Graph(
        (Input("x", "float32", (3,)),),
        (make_node("masked_fill", self=Value(0), mask=Parameter("mask"), value=0.0),),
        (Value(1),),
        ("output",),
        {"mask": "bool"},
    )
    network = Network(graph, {"mask": torch.tensor([True, False, True])})
    assert dict(network.named_buffers()).keys() == {"mask"} and not list(network.parameters())
    assert network(torch.ones(1, 3)).tolist() == [[0, 1, 0]]


def test_a_missing_layer_is_named(network):
    with pytest.raises(TersenetError, match="no layer 'conv9'"):
        network.layer("conv9")


class _Halve(Around):
    def before(self, given):
        return given / 2

    def after(self, result):
        return result + 1


def test_what_stands_around_a_node_changes_what_it_reads_and_gives_and_nothing_beside_it():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)

        def forward(self, x):
            return self.first(x) - self.second(x)

    network = capture(Twice(), torch.zeros(1, 3))
    x = torch.randn(4, 3)
    first, second = network.dense("first.weight"), network.dense("second.weight")
    network.put_around({network.weighted_layers()[0].index: _Halve()})
    assert torch.allclose(network(x), x @ first.T / 2 + 1 - x @ second.T, atol=1e-6)
    assert torch.equal(network.clone()(x), network(x))
    network.put_around({})
    assert torch.allclose(network(x), x @ first.T - x @ second.T, atol=1e-6)
    assert network.around() == {}


def test_torch_traces_a_network(network):
    """What exports one, to ONNX among others, does; sizes are tensors then."""
    traced = torch.jit.trace(network.eval(), X)
    assert torch.equal(traced(X[:2]), network(X[:2]))
