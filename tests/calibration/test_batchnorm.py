"""BatchNorm set right: exact averages over the batches, nothing else touched."""

import copy

import pytest
import torch
from torch import nn

from tersenet.calibration import recalibrate_batchnorm
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture


def build() -> tuple[nn.Module, Network, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(12, 4),
        nn.BatchNorm1d(4),
    )
    x = torch.randn(12, 2, 4, 4) * 3 + 1
    return model, capture(model, x), x


def test_statistics_are_those_of_torch_with_cumulative_averaging():
    model, network, x = build()
    assert recalibrate_batchnorm(network, x.split(4)) == 2
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.reset_running_stats()
    model.train()
    model[3].eval()
    with torch.no_grad():
        for batch in x.split(4):
            model(batch)
    for name in ("1.running_mean", "1.running_var", "6.running_mean", "6.running_var"):
        torch.testing.assert_close(network.dense(name), model.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_batches_count_by_their_size_in_any_order():
    _, network, x = build()
    other = network.clone()
    recalibrate_batchnorm(network, [x[:8], x[8:]])
    recalibrate_batchnorm(other, [x[8:], x[:8]])
    torch.testing.assert_close(network.dense("6.running_var"), other.dense("6.running_var"))
    first = network.layer("0")
    with torch.no_grad():
        y = torch.conv2d(x, first.weight, first.bias)
    torch.testing.assert_close(network.dense("1.running_mean"), y.mean((0, 2, 3)), rtol=1e-5, atol=1e-5)


def test_only_running_statistics_change_and_modes_come_back():
    _, network, x = build()
    network.eval()
    network.layer("3" if "3" in dict(network.named_modules()) else "0").train()
    modes = {name: module.training for name, module in network.named_modules()}
    before = copy.deepcopy(network.state_dict())
    recalibrate_batchnorm(network, [(x, torch.zeros(12))])
    assert modes == {name: module.training for name, module in network.named_modules()}
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"1.running_mean", "1.running_var", "6.running_mean", "6.running_var"}


def test_it_repairs_a_network_whose_weights_were_scaled():
    _, network, x = build()
    recalibrate_batchnorm(network, [x])
    network.eval()
    expected = network(x)
    network.set_tensor("0.weight", network.dense("0.weight") * 3)
    network.set_tensor("0.bias", network.dense("0.bias") * 3)
    assert not torch.allclose(network(x), expected, atol=1e-2)
    recalibrate_batchnorm(network, [x])
    torch.testing.assert_close(network.eval()(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "batches, sentence",
    [
        (lambda x: [], "empty"),
        (lambda x: [x, x * float("nan")], "batch 1"),
        (lambda x: [x, x[:1]], "at least 2|more than 1 value"),
        (lambda x: [x[:, :1]], "shape"),
    ],
)
def test_a_refused_batch_changes_nothing(batches, sentence):
    _, network, x = build()
    network.eval()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match=sentence):
        recalibrate_batchnorm(network, batches(x))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module.training for module in network.modules())


def test_a_network_without_batchnorm_is_left_alone():
    network = capture(nn.Linear(3, 2), torch.ones(2, 3))
    assert recalibrate_batchnorm(network, []) == 0


def test_errors_are_ours():
    assert issubclass(TersenetError, ValueError)
