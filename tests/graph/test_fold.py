"""BatchNorm with fixed statistics is one scale and one shift a channel."""

import pytest
import torch
from torch import nn

from tersenet import artifact, zoo
from tersenet.container import decode
from tersenet.graph import Network, capture, fold_batchnorm, remove_rows
from tersenet.methods.share import share_weights


def with_statistics(model: nn.Module, x: torch.Tensor) -> Network:
    """Captured after it has seen data, so that no statistic is 0 or 1."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn_like(x) * 2 + 1)
    return capture(model.eval(), x)


class Twice(nn.Module):
    """One BatchNorm used twice, and a value that is read before and after it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        first = self.norm(self.conv(x))
        return self.norm(self.conv(first)) + first, first


CASES = {
    "pictures": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (4, 3, 6, 6)),
    "series": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (4, 3, 9)),
    "vectors": (lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), (4, 5)),
    "without scale": (lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False)), (4, 5)),
    "first of all": (lambda: nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4)), (4, 5)),
    "used twice": (Twice, (4, 3, 6, 6)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_answers_stay_and_half_the_numbers_go(case):
    make, shape = CASES[case]
    network = with_statistics(make(), torch.randn(shape))
    folded = fold_batchnorm(network)
    x = torch.randn(shape)
    torch.testing.assert_close(folded(x), network(x), rtol=1e-5, atol=1e-5)
    assert not any(node.op == "batch_norm" for node in folded.graph.nodes)
    assert not any("running" in name for name in folded.graph.parameters)


@pytest.mark.parametrize("bias", [False, True])
def test_a_channel_of_zeros_has_the_scale_zero_and_answers_as_before(bias):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4))
    with torch.no_grad():
        model[0].weight[1] = 0
    network = with_statistics(model, torch.randn(4, 3, 6, 6))
    folded = fold_batchnorm(network)
    scale = folded.dense("1.scale").flatten()
    assert scale[1] == 0 and scale.count_nonzero() == 3
    assert "0.bias" not in folded.graph.parameters
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(folded(x), network(x), rtol=1e-5, atol=1e-5)


class Both(nn.Module):
    """A convolution that BatchNorm is not alone to read."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


def test_a_bias_that_is_read_elsewhere_stays():
    model = Both()
    with torch.no_grad():
        model.conv.weight[1] = 0
    network = with_statistics(model, torch.randn(4, 3, 6, 6))
    folded = fold_batchnorm(network)
    assert "conv.bias" in folded.graph.parameters
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(folded(x), network(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v1_025_128", "resnet8"])
def test_networks_of_the_zoo_keep_their_answers(name):
    example = zoo.networks.example_inputs(name, batch=2)
    network = with_statistics(zoo.network(name), *example)
    torch.testing.assert_close(fold_batchnorm(network)(*example), network(*example), rtol=1e-4, atol=1e-4)


def test_a_network_without_fixed_statistics_is_copied():
    network = capture(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False)), torch.randn(4, 5))
    folded = fold_batchnorm(network)
    assert folded is not network and folded.graph == network.graph


def test_what_is_folded_trains_on_is_saved_and_loses_channels_as_before():
    network = with_statistics(CASES["pictures"][0](), torch.randn(4, 3, 6, 6))
    folded = fold_batchnorm(network)
    share_weights(folded, "0.weight", k=8, init="linear", table="float32", seed=0)
    x = torch.randn(2, 3, 6, 6)
    folded(x).sum().backward()
    assert folded.layer("1").scale.grad.abs().sum() > 0 and folded.layer("1").shift.grad.abs().sum() > 0
    loaded = artifact.from_contents(decode(artifact.to_bytes(folded, "huffman")))
    assert torch.equal(loaded(x), folded(x))


def test_what_is_folded_loses_channels_as_before():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    folded = fold_batchnorm(with_statistics(model, torch.randn(4, 3, 8, 8)))
    for name in ("1.scale", "1.shift"):
        tensor = folded.dense(name).clone()
        tensor[1] = 0
        folded.set_tensor(name, tensor)
    smaller = remove_rows(folded, "0", torch.tensor([True, False, True, True]))
    assert smaller.dense("1.scale").shape == smaller.dense("1.shift").shape == (3, 1, 1)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(smaller(x), folded(x))


def test_the_old_network_is_left_alone():
    network = with_statistics(CASES["vectors"][0](), torch.randn(4, 5))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fold_batchnorm(network).layer("1").scale.data.zero_()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())
