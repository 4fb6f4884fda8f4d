"""Layers of one bit a weight from a user's side: xnor where a sign comes before, look-ups elsewhere, little memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tersenet.runtime as runtime
from tersenet import artifact
from tersenet.forms import Binary
from tersenet.graph import capture


class Sign(torch.autograd.Function):
    """Signs forward, the gradient where |x| <= 1 back (Courbariaux et al. 2016, arXiv:1602.02830, eq. 4)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad * (ctx.saved_tensors[0].abs() <= 1)


class Signed(nn.Module):
    """Inputs of the layers: numbers, signs, signs of an image, what a ReLU leaves of signs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.image, self.last, self.next = (nn.Linear(64, 64) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        x = Sign.apply(self.first(x.flatten(1)))
        x = self.image(Sign.apply(self.second(x).reshape(-1, 4, 4, 4)).flatten(1))
        return self.next(self.last(torch.relu(Sign.apply(x))))  # one layer straight after another


@pytest.mark.parametrize("per", ["row", "tensor"])
def test_a_sign_before_a_layer_makes_it_exclusive_or(per, tmp_path):
    torch.manual_seed(0)
    model = Signed().eval()
    network = capture(model, torch.zeros(2, 4, 16))
    for name in ("first", "second", "image", "last", "next"):
        network.attach(f"{name}.weight", Binary.fit(getattr(model, name).weight, per=per))
    artifact.save(network, tmp_path / "net.terse")
    session = runtime.open(tmp_path / "net.terse", threads=1)
    tried = {
        row.weight.split(".")[0]: {one.kernel.split("/")[0] for one in row.tried}
        for row in session.plan()
        if row.weight
    }
    assert {name for name, kernels in tried.items() if "xnor" in kernels} == {"second", "image"}
    assert all("binary" in kernels for kernels in tried.values())
    x = torch.randn(7, 4, 16)
    with torch.no_grad():
        truth = network(x).numpy()
    found = session(x.numpy())
    assert np.abs(found - truth).max() <= 1e-5 * np.abs(truth).max()
    in_integers = runtime.open(tmp_path / "net.terse", threads=1, activations="int8")
    assert sum(one.kernel.startswith("xnor") for row in in_integers.plan() for one in row.tried) == 2


def test_a_large_binary_layer_stays_bits_in_memory(tmp_path):
    model = nn.Sequential(nn.Linear(2048, 2048, bias=False)).eval()
    network = capture(model, torch.zeros(2, 2048))
    network.attach("0.weight", Binary.fit(model[0].weight))
    artifact.save(network, tmp_path / "net.terse", coder="raw")
    session = runtime.open(tmp_path / "net.terse", threads=1)
    assert session.weight_bytes <= 2048 * 2048 / 8 + 2048 * 8
