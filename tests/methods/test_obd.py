"""Second derivatives: Gauss-Newton is what autograd finds, the recursion agrees as far as it drops nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.methods.obd import damage, gauss_newton_diagonal, recursive_diagonal
from tersenet.methods.select import select_layers


class _Convolutions(nn.Module):
    """Plain, grouped and one-dimensional ones, a residual add, BatchNorm, pooling, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2)
        self.line = nn.Conv1d(4, 3, 2)
        self.twice, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.one(x)))
        x = F.avg_pool2d(self.two(x) + x[:, :, ::2, ::2], (1, 1))
        x = torch.relu(self.line(x.flatten(2))).flatten(1)[:, :6]
        return self.last(torch.relu(self.twice(torch.relu(self.twice(x)))))


def _mlp(*sizes: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), activation()]
    return nn.Sequential(*layers[:-1])


def _captured(model: nn.Module, x: torch.Tensor) -> Network:
    return capture(model.eval().double(), x.double())


def _hessian_diagonals(net: Network, x: torch.Tensor, target: torch.Tensor, outputs: str) -> dict[str, torch.Tensor]:
    """Brute force: the whole Hessian of the mean loss, weight by weight, by autograd."""
    found = {}
    for layer in select_layers(net, "*"):
        weight = net.dense(layer.weight)

        def loss(flat: torch.Tensor, name: str = layer.weight, shape: torch.Size = weight.shape) -> torch.Tensor:
            z = torch.func.functional_call(net.plain(), {name: flat.reshape(shape)}, (x,))
            return F.cross_entropy(z, target) if outputs == "classes" else F.mse_loss(z, target)

        hessian = torch.autograd.functional.hessian(loss, weight.reshape(-1).clone())
        found[layer.weight] = hessian.diagonal().reshape(weight.shape)
    return found


def _target(net: Network, x: torch.Tensor, outputs: str) -> torch.Tensor:
    with torch.no_grad():
        z = net(x)
    return torch.randint(0, z.shape[1], z.shape[:1]) if outputs == "classes" else torch.randn_like(z)


@pytest.mark.parametrize("outputs", ["classes", "values"])
@pytest.mark.parametrize("name", ["mlp", "convolutions"])
def test_gauss_newton_is_the_diagonal_of_the_whole_hessian_where_activations_have_no_curvature(name, outputs):
    torch.manual_seed(0)
    model, x = (_mlp(5, 7, 4, 3), torch.randn(9, 5)) if name == "mlp" else (_Convolutions(), torch.randn(9, 2, 4, 6))
    net = _captured(model, x)
    x = x.double()
    found = gauss_newton_diagonal(net, [x[:4], x[4:]], select_layers(net, "*"), outputs=outputs)
    for weight, wanted in _hessian_diagonals(net, x, _target(net, x, outputs), outputs).items():
        # A layer used twice meets its own change: the outputs are not linear in it. Its Gauss-Newton part has a test below.
        if weight != "twice.weight":
            torch.testing.assert_close(found[weight], wanted, rtol=1e-6, atol=1e-12)


def test_gradients_of_a_weight_used_twice_add_up_before_they_are_squared():
    torch.manual_seed(1)
    x = torch.randn(5, 2, 4, 6)
    net = _captured(_Convolutions(), x)
    x = x.double()
    found = gauss_newton_diagonal(net, [x], select_layers(net, "twice"), outputs="values")["twice.weight"]
    weight = net.dense("twice.weight")

    def answers(one: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net.plain(), {"twice.weight": one}, (x,))

    jacobian = torch.autograd.functional.jacobian(answers, weight.clone())  # examples, outputs, out, in
    torch.testing.assert_close(found, 2 / 3 * jacobian.square().sum(1).mean(0))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_the_recursion_is_gauss_newton_where_it_drops_nothing(activation):
    torch.manual_seed(2)
    x = torch.randn(8, 5)
    layers_where_exact = {
        ("values", (5, 6, 3)): "*",
        ("values", (5, 1, 6, 3)): "2,4",
        ("classes", (5, 6, 4, 3)): "last",
        ("values", (5, 6, 4, 1)): "2,4",
        ("values", (5, 1, 1, 1)): "*",
    }
    for (outputs, sizes), where in layers_where_exact.items():
        net = _captured(_mlp(*sizes, activation=activation), x)
        layers = select_layers(net, where)
        exact = gauss_newton_diagonal(net, [x.double()], layers, outputs=outputs)
        found = recursive_diagonal(net, [x.double()], layers, outputs=outputs)
        for name, wanted in exact.items():
            torch.testing.assert_close(found[name], wanted)


def test_the_recursion_differs_by_the_terms_between_outputs():
    torch.manual_seed(3)
    x = torch.randn(64, 6).double()
    net = _captured(_mlp(6, 8, 8, 4), x)
    layers = select_layers(net, "*")
    exact, found = gauss_newton_diagonal(net, [x], layers), recursive_diagonal(net, [x], layers)
    torch.testing.assert_close(found["4.weight"], exact["4.weight"])
    for name in ("0.weight", "2.weight"):
        assert not torch.allclose(found[name], exact[name], rtol=0.05)
        both = torch.stack([found[name].log().reshape(-1), exact[name].log().reshape(-1)])
        assert torch.corrcoef(both[:, both.isfinite().all(0)])[0, 1] > 0.5


class _Moved(nn.Module):
    """Operations that move numbers, and means; then one linear layer, so that nothing is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x)).permute(0, 2, 3, 1).permute(0, 3, 1, 2)
        a, b = x[:, :2] * 3, F.max_pool2d(x, 2)[:, 2:]
        a = F.adaptive_avg_pool2d(F.avg_pool2d(a, 2), (1, 2))
        return torch.cat([a.flatten(1), torch.neg(b).mean((2,))[:, :, None].flatten(1)], 1)


def test_operations_that_move_scale_and_average_are_sent_through_as_gauss_newton_does_at_one_place():
    torch.manual_seed(4)
    x = torch.zeros(6, 2, 4, 4)
    x[:, :, 1, 2] = torch.randn(6, 2)  # one place is seen: places of a convolution have terms between them
    net = _captured(_Moved(), x)
    layers = select_layers(net, "*")
    exact = gauss_newton_diagonal(net, [x.double()], layers, outputs="values")["conv.weight"]
    found = recursive_diagonal(net, [x.double()], layers, outputs="values")["conv.weight"]
    assert exact.count_nonzero() == exact.numel()
    torch.testing.assert_close(found, exact)


def test_batches_and_bounded_memory_do_not_change_the_result(monkeypatch):
    torch.manual_seed(5)
    x = torch.randn(10, 2, 4, 6)
    net = _captured(_Convolutions(), x)
    x, layers = x.double(), select_layers(net, "*")
    for diagonal in (gauss_newton_diagonal, recursive_diagonal):
        whole = diagonal(net, [x], layers)
        monkeypatch.setattr("tersenet.methods.obd.PATCH_VALUES", 1)
        for name, parts in diagonal(net, [x[:3], x[3:4], x[4:]], layers).items():
            torch.testing.assert_close(parts, whole[name])
        monkeypatch.undo()


def test_random_probes_come_near_and_the_same_seed_gives_the_same_bits():
    torch.manual_seed(6)
    x = torch.randn(40, 5)
    net = _captured(_mlp(5, 6, 12), x)
    layers = select_layers(net, "*")
    exact = gauss_newton_diagonal(net, [x.double()], layers)
    one, two, other = (gauss_newton_diagonal(net, [x.double()], layers, probes=50, seed=seed) for seed in (0, 0, 1))
    for name, wanted in exact.items():
        assert torch.equal(one[name], two[name])
        assert not torch.equal(one[name], other[name])
        assert float((one[name] - wanted).norm() / wanted.norm()) < 0.15


def test_damage_is_what_the_loss_grows_by_at_its_minimum():
    torch.manual_seed(7)
    x = torch.randn(200, 6).double()
    net = _captured(nn.Linear(6, 2), x)
    with torch.no_grad():
        target = net(x)  # the loss is at its minimum, and quadratic: the expansion is exact
    found = damage(net, gauss_newton_diagonal(net, [x], select_layers(net, "*"), outputs="values"))["weight"]
    for place in ((0, 0), (1, 3)):
        weight = net.dense("weight").clone()
        weight[place] = 0
        cut = net.clone()
        cut.set_tensor("weight", weight)
        assert float(F.mse_loss(cut(x), target)) == pytest.approx(float(found[place]))


def test_the_network_is_left_as_it_was():
    torch.manual_seed(8)
    x = torch.randn(4, 5)
    net = capture(_mlp(5, 6, 3).train(), x).train()
    net.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for diagonal in (gauss_newton_diagonal, recursive_diagonal):
        diagonal(net, [x], select_layers(net, "*"))
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in net.parameters())


class _Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(x).softmax(1))


def test_what_has_no_second_derivatives_here_is_refused_in_a_sentence():
    x = torch.randn(4, 4)
    net = capture(_Softmax(), x)
    layers = select_layers(net, "*")
    with pytest.raises(TersenetError, match="no rule for this use of operation 'softmax'"):
        recursive_diagonal(net, [x], layers)
    with pytest.raises(TersenetError, match="NaN or infinite"):
        gauss_newton_diagonal(net, [x * torch.nan], layers)
    with pytest.raises(TersenetError, match="shape"):
        gauss_newton_diagonal(net, [x[:, :3]], layers)
    with pytest.raises(TersenetError, match="the data is empty"):
        gauss_newton_diagonal(net, [], layers)
    with pytest.raises(TersenetError, match="0 probes"):
        gauss_newton_diagonal(net, [x], layers, probes=0)
    words = capture(nn.Sequential(nn.Embedding(5, 4), nn.Flatten()), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(TersenetError, match="'0' is no linear"):
        gauss_newton_diagonal(words, [torch.zeros(2, 3, dtype=torch.int64)], select_layers(words, "*"))
    coupled = capture(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)), x)
    with pytest.raises(TersenetError, match="couples the examples"):
        gauss_newton_diagonal(coupled, [x], select_layers(coupled, "0"))
