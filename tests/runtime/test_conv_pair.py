"""A pointwise convolution runs inside the depthwise one that alone reads it, where what lies between is large."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tersenet
import tersenet.runtime as runtime


class Pair(nn.Module):
    def __init__(self, sort: str):
        super().__init__()
        self.sort = sort
        stride, pad = (2, 0) if sort == "stride" else (1, 1)
        self.expand, self.depthwise = nn.Conv2d(5, 50, 1), nn.Conv2d(50, 50, 3, stride, pad, groups=50)
        self.norm, self.project = nn.BatchNorm2d(50), nn.Conv2d(50, 4, 1)
        nn.init.uniform_(self.norm.running_mean, -0.2, 0.2)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def forward(self, x):
        wide = nn.functional.relu6(self.norm(self.expand(x)))
        if self.sort == "added":
            wide = self.expand(x.flip(2)) + self.norm(self.expand(x))
        if self.sort == "stride":
            wide = nn.functional.pad(wide, (0, 1, 0, 1))
        y = self.project(nn.functional.leaky_relu(self.depthwise(wide), 0.1))
        return y + wide.mean() if self.sort == "read twice" else y


@pytest.mark.parametrize("sort", ["plain", "stride", "added", "read twice"])
def test_a_pair_answers_as_torch_does(sort, tmp_path):
    torch.manual_seed(0)
    network = Pair(sort).eval()
    path = tmp_path / "pair.terse"
    tersenet.save(tersenet.capture(network, torch.zeros(2, 5, 63, 66)), path)
    for threads in (1, 2):
        session = runtime.open(path, threads=threads)
        inside = [row.operation for row in session.plan() if "inside the next" in row.operation]
        assert len(inside) == (sort != "read twice")
        for batch in (1, 3, 0):
            x = torch.randn(batch, 5, 63, 66)
            if batch == 0 and sort == "read twice":
                continue  # a mean of nothing
            with torch.no_grad():
                truth = network(x).numpy()
            np.testing.assert_allclose(session(x.numpy()), truth, atol=1e-5)


def test_what_lies_between_is_never_whole(tmp_path):
    network = Pair("plain").eval()
    path = tmp_path / "pair.terse"
    tersenet.save(tersenet.capture(network, torch.zeros(2, 5, 256, 256)), path)
    session = runtime.open(path, threads=1)
    session(np.zeros((1, 5, 256, 256), np.float32))
    assert session.value_bytes < 1.5 * 50 * 256 * 256 * 4  # one side of the depthwise convolution, not both
