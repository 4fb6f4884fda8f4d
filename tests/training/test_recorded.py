"""A recorded step is the step: nothing in it is read, and a replay gives what the step gives."""

import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tersenet.forms import Latent, RateStep, Uniform
from tersenet.graph import capture
from tersenet.training import TrainConfig, fit
from tersenet.training.config import Regularise
from tersenet.training.regularise import Penalty

READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "lift_fresh")


class NothingIsRead(TorchDispatchMode):
    """Refuses what would wait for a GPU, or copy a number to it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in READS, func
        return func(*args, **(kwargs or {}))


def latent_net():
    net = capture(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), torch.zeros(2, 6))
    for name in ("0.weight", "2.weight"):
        weight = net.dense(name).clone()
        net.attach(name, Latent(weight, RateStep(Uniform.on_grid(weight, torch.tensor([0.25])))))
    return net


@pytest.mark.parametrize("settings", [{}, {"target": 10}, {"warmup_epochs": 2.0}, {"target": 10, "warmup_epochs": 2.0}])
def test_a_step_with_priced_bits_reads_nothing_and_its_time_may_be_a_tensor(settings):
    regularise = Regularise(rate=0.5, l2=1e-3, **settings)
    x, y = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    found = []
    for time in (0.5, torch.tensor(0.5)):
        torch.manual_seed(0)
        net = latent_net()
        penalty = Penalty(net, regularise, examples=100, steps=3)
        with NothingIsRead():
            loss = nn.functional.cross_entropy(net(x), y) + penalty(time)
            loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in net.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=0)


def test_on_a_cpu_replay_changes_nothing(pictures, small_net):
    ends = []
    for replay in (False, True):
        net = small_net()
        fit(net, pictures(20), None, TrainConfig(epochs=2, batch_size=8, replay=replay), seed=0)
        ends.append([tensor.numpy().tobytes() for tensor in net.state_dict().values()])
    assert ends[0] == ends[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_replayed_run_learns_as_one_that_is_not(pictures):
    losses = []
    for replay in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
        config = TrainConfig(epochs=6, batch_size=8, augment="flip_crop", cutout=2, replay=replay)
        losses.append(fit(net, pictures(20), pictures(9, seed=1), config, seed=0, device="cuda").epochs[-1].train_loss)
    assert math.isfinite(losses[1])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
