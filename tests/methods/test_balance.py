"""Steps by channel: the network answers as before, and rows that matter more become larger against the common step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.graph import Network, capture, fold_batchnorm
from tersenet.methods._balance import FARTHEST, POWER, balance_rows


class _Net(nn.Module):
    """The second convolution has a bias and no norm, so nothing can take up what its rows are divided by."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.two, self.end = nn.Conv2d(8, 6, 3), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.one(x)))
        return self.end(torch.relu(self.two(x)).mean((2, 3)))


@pytest.fixture()
def net() -> Network:
    torch.manual_seed(0)
    model = _Net().eval()
    with torch.no_grad():
        model.norm.weight.copy_(torch.linspace(0.1, 2, 8))
        model.norm.running_var.uniform_(0.5, 2)
    return fold_batchnorm(capture(model, torch.randn(2, 3, 8, 8)))


def _batches() -> list[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(16, 3, 8, 8, generator=generator),) for _ in range(2)]


def test_answers_stay_and_only_rows_with_a_scale_change(net):
    balanced = net.clone()
    found = balance_rows(balanced, _batches(), "classes")
    assert list(found) == ["one.weight", "two.weight"]
    assert 1 / FARTHEST <= float(found["one.weight"].min()) < 1 < float(found["one.weight"].max()) <= FARTHEST
    ((x,), _) = _batches()
    with torch.no_grad():
        assert torch.allclose(net(x), balanced(x), atol=1e-5)
    for name in ("two.weight", "end.weight"):
        assert torch.equal(net.dense(name), balanced.dense(name))
    expected = net.dense("one.weight").double() / found["one.weight"].reshape(-1, 1, 1, 1)
    assert torch.allclose(balanced.dense("one.weight").double(), expected, rtol=1e-6)


def test_a_channel_ten_times_as_loud_takes_the_finer_step(net):
    loud = net.clone()
    scale = net.dense("norm.scale").clone()
    scale[0] = scale[0] * 10
    loud.set_tensor("norm.scale", scale)
    steps = [balance_rows(one.clone(), _batches(), "values")["one.weight"] for one in (net, loud)]
    ratio = (steps[1] / steps[1][1]) / (steps[0] / steps[0][1])
    # Its curvature grows by about 100; ReLU leaves a little more or less of it open.
    assert float(ratio[0]) == pytest.approx(100**-POWER, rel=0.3)


def test_a_dead_channel_is_no_trouble(net):
    scale = net.dense("norm.scale").clone()
    scale[2] = 0
    net.set_tensor("norm.scale", scale)
    found = balance_rows(net, _batches(), "classes")["one.weight"]
    assert bool(torch.isfinite(found).all())
    assert int(found.argmax()) == 2


def test_the_same_seed_gives_the_same_steps(net):
    first, second = (balance_rows(net.clone(), _batches(), "classes") for _ in range(2))
    assert torch.equal(first["one.weight"], second["one.weight"])
