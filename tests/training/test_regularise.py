"""Penalties are sums over weights alone; group terms take whole neurons, and are at rest where a neuron is gone."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from tersenet.errors import TersenetError
from tersenet.forms import Dense, Latent, RateStep, Sparse, Ternary, Uniform
from tersenet.graph import capture
from tersenet.training import TrainConfig, fit
from tersenet.training.config import Regularise
from tersenet.training.errors import TrainingError
from tersenet.training.regularise import Penalty, neuron_norms, stored_weights


def penalty(model, regularise, time_epochs=1.0):
    return Penalty(model, regularise)(time_epochs)


def names(model, where="*"):
    return [stored.layer.weight for stored in Penalty(model, Regularise(l1=1, where=where)).weights]


def test_penalties_sum_over_weights_and_leave_biases_and_normalisation_out():
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(-2.0)
    got = penalty(net, Regularise(l1=0.5, l2=0.25))
    elements = 2 * 4 + 3 * 2
    assert got.item() == 0.5 * 2 * elements + 0.25 * 4 * elements
    assert penalty(net, Regularise()) is None


def test_the_gradient_of_a_penalty_is_that_of_its_formula():
    net = nn.Linear(3, 2)
    penalty(net, Regularise(l1=0.5, l2=0.25)).backward()
    assert torch.allclose(net.weight.grad, 0.5 * net.weight.sign() + 0.5 * net.weight)
    assert net.bias.grad is None


def test_group_terms_are_norms_of_rows_and_of_columns():
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]))
    assert penalty(net, Regularise(li=1)).item() == pytest.approx(5 + 2)  # into each of two neurons
    assert penalty(net, Regularise(lo=1)).item() == pytest.approx(3 + 4 + 2)  # out of each of three inputs
    assert penalty(net, Regularise(li=2, lo=0.5, l1=1)).item() == pytest.approx(2 * 7 + 0.5 * 9 + 9)
    penalty(net, Regularise(li=1, lo=10)).backward()
    rows, columns = torch.tensor([[5.0], [2.0]]), torch.tensor([3.0, 4.0, 2.0])
    assert torch.allclose(net.weight.grad, net.weight / rows + 10 * net.weight / columns)


def test_polarising_is_at_rest_at_the_levels_and_drives_weights_to_them():
    net = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[2.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    term = penalty(net, Regularise(polarise=3.0))
    term.backward()
    assert term.item() == 0 and torch.isfinite(net.weight.grad).all()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.5, 1.25, 0.75, -1.0], [3.0, 3.0, -3.0, 3.0]]))
    # The row's scale is 1, of the three that are above 0.7 times its mean.
    inside = sum(u**2 * (1 - u**2) for u in (0.5, 0.75, 1.0))
    assert penalty(net, Regularise(polarise=2.0)).item() == pytest.approx(2 * (inside + 2 * 0.25))
    net = nn.Linear(50, 4, bias=False)
    torch.manual_seed(0)
    nn.init.normal_(net.weight)
    before = float((Ternary.fit(net.weight, threshold="mean")() - net.weight).detach().square().mean())
    optimiser = torch.optim.Adam(net.parameters(), lr=0.005)
    for _ in range(1000):
        optimiser.zero_grad()
        penalty(net, Regularise(polarise=1.0)).backward()
        optimiser.step()
    after = float((Ternary.fit(net.weight, threshold="mean")() - net.weight).detach().square().mean())
    assert after < before / 100


@pytest.mark.parametrize("term", ["li", "lo"])
def test_a_neuron_that_is_gone_stays_where_it_is(term):
    net = nn.Linear(3, 2)
    nn.init.zeros_(net.weight)
    penalty(net, Regularise(**{term: 1.0})).backward()
    assert torch.equal(net.weight.grad, torch.zeros(2, 3))
    naive = torch.zeros(3, requires_grad=True)
    naive.square().sum().sqrt().backward()
    assert naive.grad.isnan().all()


def test_a_weight_whose_norm_is_penalised_leaves_as_a_whole_and_one_that_is_needed_does_not():
    torch.manual_seed(0)
    net = nn.Linear(4, 2, bias=False)
    x = torch.randn(64, 4)
    data = [(x, torch.stack([x[:, 0] + x[:, 1], torch.zeros(64)], 1))]
    config = TrainConfig(epochs=300, lr=0.1, momentum=0.0, loss="mse", regularise={"li": 0.05})
    fit(net, data, None, config, seed=0)
    assert net.weight[1].abs().max() < 0.01 and net.weight[0, :2].min() > 0.5


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (nn.Linear(4, 6), "linear"),
        (nn.Conv2d(4, 6, 3), "conv2d"),
        (nn.Conv2d(4, 6, 3, groups=2), "conv2d"),
        (nn.Conv2d(4, 4, 3, groups=4), "conv2d"),
        (nn.Conv1d(4, 6, 3), "conv1d"),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), "conv_transpose2d"),
    ],
    ids=repr,
)
def test_a_weight_belongs_to_the_output_and_the_input_it_joins(layer, op):
    """A weight is in the norm of output o if o answers to it, in that of input i if it vanishes without i."""
    layer = layer.double()
    shape = (1, 4) if op == "linear" else (1, 4, 5, 5)[: layer.weight.ndim]
    into, out_of = neuron_norms(layer.weight, op, getattr(layer, "groups", 1))

    def answers(x):
        return (layer(x) - layer(torch.zeros_like(x)))[0].flatten(1 if x.ndim > 2 else 0)

    for output, norm in enumerate(into):
        (grad,) = torch.autograd.grad(answers(torch.rand(shape).double())[output].sum(), layer.weight)
        assert norm.item() == pytest.approx(layer.weight[grad != 0].norm().item())
    for channel, norm in enumerate(out_of):
        one = torch.zeros(shape).double()
        one[0, channel] = 1.0
        (grad,) = torch.autograd.grad(answers(one).sum(), layer.weight)
        assert norm.item() == pytest.approx(layer.weight[grad != 0].norm().item())


def test_an_embedding_reads_by_rows():
    into, out_of = neuron_norms(torch.tensor([[3.0, 0.0], [4.0, 0.0], [0.0, 1.0]]), "embedding")
    assert into.tolist() == [5.0, 1.0] and out_of.tolist() == [3.0, 4.0, 1.0]


def test_factors_rise_linearly_from_nothing():
    net = nn.Linear(3, 2)
    warm = Regularise(l1=1.0, lo=1.0, warmup_epochs=4)
    whole = penalty(net, Regularise(l1=1.0, lo=1.0))
    assert penalty(net, warm, 0.0) is None
    assert torch.allclose(penalty(net, warm, 1.0), whole / 4)
    assert torch.equal(penalty(net, warm, 4.0), whole) and torch.equal(penalty(net, warm, 9.0), whole)


def test_the_price_of_a_bit_is_shared_among_the_examples_and_rises_too():
    net = capture(nn.Linear(6, 4), torch.zeros(2, 6))
    weight = net.dense("weight")
    form = Latent(weight, RateStep(Uniform.on_grid(weight, torch.tensor([0.1]))))
    net.attach("weight", form)
    bits = float(form.rate_bits().detach())
    priced = Penalty(net, Regularise(rate=0.5, warmup_epochs=2), examples=1000)
    assert priced(0.0) is None
    assert float(priced(1.0).detach()) == pytest.approx(0.25 * math.log(2) / 1000 * bits)
    priced(2.0).backward()
    assert form.values.grad.abs().sum() > 0


def test_a_price_without_bits_or_without_a_number_of_examples_is_refused():
    with pytest.raises(TrainingError, match="no weight has a rate to train"):
        Penalty(nn.Linear(3, 2), Regularise(rate=1.0), examples=10)
    net = capture(nn.Linear(6, 4), torch.zeros(2, 6))
    weight = net.dense("weight")
    net.attach("weight", Latent(weight, RateStep(Uniform.on_grid(weight, torch.tensor([0.1])))))
    with pytest.raises(TrainingError, match="how many there are is not known"):
        Penalty(net, Regularise(rate=1.0))


def test_training_warms_its_penalty_up_step_by_step():
    seen = []

    class Spy(Penalty):
        def __call__(self, time_epochs):
            seen.append(time_epochs)
            return super().__call__(time_epochs)

    data = [(torch.randn(2, 3), torch.tensor([0, 1]))] * 2
    config = TrainConfig(epochs=2, regularise={"l1": 0.1, "warmup_epochs": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tersenet.training.loop.Penalty", Spy)
        fit(nn.Linear(3, 2), data, None, config, seed=0)
    assert seen == [0.5, 1.0, 1.5, 2.0]


def plain():
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(1, 2, 3))
    net.add_module("norm", nn.BatchNorm2d(2))
    net.add_module("conv2", nn.Conv2d(2, 2, 3, groups=2))
    net.add_module("flat", nn.Flatten())
    net.add_module("fc1", nn.Linear(8, 5))
    net.add_module("fc2", nn.Linear(5, 3))
    return net


@pytest.mark.parametrize("make", [plain, lambda: capture(plain(), torch.zeros(2, 1, 6, 6))], ids=["module", "network"])
@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("*", ["conv1", "conv2", "fc1", "fc2"]),
        ("fc*", ["fc1", "fc2"]),
        ("op:conv*", ["conv1", "conv2"]),
        ("op:linear, conv1.weight", ["conv1", "fc1", "fc2"]),
        ("last", ["fc2"]),
    ],
)
def test_patterns_choose_what_is_penalised(make, where, found):
    assert names(make(), where) == [f"{name}.weight" for name in found]


def test_a_captured_network_is_penalised_as_the_module_it_came_from():
    model = plain()
    every = Regularise(l1=0.1, l2=0.2, li=0.3, lo=0.4)
    network = capture(model, torch.zeros(2, 1, 6, 6))
    assert torch.equal(penalty(network, every), penalty(model, every))


def test_a_pattern_that_names_nothing_is_refused_before_training_with_the_nearest_names():
    config = TrainConfig(epochs=1, regularise={"li": 1, "where": "cnv1"})
    with pytest.raises(TersenetError, match=r"no layer matches 'cnv1'.*conv1"):
        fit(plain(), [(torch.zeros(2, 1, 6, 6), torch.zeros(2).long())], None, config, seed=0)


def test_a_pruned_weight_is_penalised_where_it_is_not_zero():
    torch.manual_seed(0)
    network = capture(nn.Linear(3, 4), torch.zeros(2, 3))
    weight = network.dense("weight").clone()
    weight[1] = weight[:, 2] = 0
    network.attach("weight", Sparse.fit(weight, values=Dense.fit))
    got = penalty(network, Regularise(li=1, lo=1))
    assert torch.allclose(got, weight.norm(dim=1).sum() + weight.norm(dim=0).sum())
    got.backward()
    values = next(network.form("weight").parameters())
    expected = weight / weight.norm(dim=1, keepdim=True) + weight / weight.norm(dim=0)
    assert torch.allclose(values.grad, expected[weight != 0])


def test_a_weight_shared_by_two_layers_is_penalised_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert names(nn.Sequential(first, second, first)) == ["0.weight"]


def test_a_weight_that_is_computed_is_penalised_as_the_layer_uses_it():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    (found,) = stored_weights(nn.Sequential(layer))
    assert torch.equal(found.value(), layer.weight) and found.layer.op == "linear"


class ByForm(nn.Module):
    """Holds its weight as the rebuilt networks do: the form of `weight` is the child `weight_form`."""

    def __init__(self):
        super().__init__()
        self.weight_form = nn.Linear(2, 2, bias=False)
        self.inner = nn.Linear(2, 1)

    @property
    def weight(self):
        return 2 * self.weight_form.weight


def test_a_weight_held_by_a_form_is_penalised_once_and_as_dense():
    module = ByForm()
    found = {stored.layer.weight: stored.value() for stored in stored_weights(module)}
    assert set(found) == {"weight", "inner.weight"}
    assert torch.equal(found["weight"], 2 * module.weight_form.weight)
    assert found["inner.weight"] is module.inner.weight


def test_recurrent_weights_count_as_weights():
    assert names(nn.LSTM(3, 4)) == ["weight_ih_l0", "weight_hh_l0"]


def test_a_penalty_on_a_network_without_weights_is_refused():
    with pytest.raises(TersenetError, match="no weight of two or more dimensions"):
        penalty(nn.BatchNorm1d(3), Regularise(l2=1))
