"""A session on eight-bit integers from a user's side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from int8_twin import F32, twin_inputs, twin_step

import tersenet
import tersenet.runtime as runtime
from tersenet.errors import TersenetError
from tersenet.forms import Uniform
from tersenet.graph import capture
from tersenet.runtime import cache

FILES = Path(__file__).parents[2] / "papers/han2016_deep_compression/files"


@pytest.mark.parametrize("name", ["resnet20-0", "lenet5_paper-0", "lenet_300_100_best-0"])
def test_a_compressed_network_answers_nearly_as_in_float32(name):
    path = FILES / f"{name}.terse"
    exact, rounded = (runtime.open(path, threads=1, activations=one) for one in ("float32", "int8"))
    x = np.random.default_rng(0).standard_normal((8, *exact.inputs[0].shape[1:])).astype(F32)
    truth, found = exact(x), rounded(x)
    assert found.tobytes() != truth.tobytes()
    assert np.abs(found - truth).max() <= 0.05 * np.abs(truth).max()
    kernels = {row.kernel.split("/")[0] for row in rounded.plan() if row.weight}
    in_floats = kernels - {"conv8", "gemv8", "gemm8", "wsell8"}
    assert bool(in_floats) == name.startswith("lenet5")  # its pictures have one channel; the fastest kernel takes them


def test_each_example_has_a_range_of_its_own():
    session = runtime.open(FILES / "lenet5_paper-0.terse", activations="int8")
    x = np.random.default_rng(0).random((5, 1, 28, 28), F32) * np.array([1, 1e-3, 1e3, -1, 0], F32)[:, None, None, None]
    alone = np.concatenate([session(one[None]) for one in x])
    assert session(x).tobytes() == alone.tobytes()


def test_a_uniform_layer_multiplies_its_own_integers():
    model = torch.nn.Sequential(torch.nn.Linear(40, 12)).eval()
    network = capture(model, torch.zeros(2, 40))
    network.attach("0.weight", Uniform.fit(model[0].weight, bits=8, per="row"))
    x = np.random.default_rng(1).standard_normal((6, 40)).astype(F32)
    found = tersenet.accelerate(network, activations="int8")(torch.from_numpy(x)).numpy()
    weight = network.dense("0.weight").detach().numpy()
    steps = np.array([twin_step(row) for row in weight])
    integers = np.rint(weight / steps[:, None])
    assert np.array_equal(integers.astype(np.int64), network.form("0.weight").level.numpy())
    levels, scale, zero = twin_inputs(x)
    sums = ((levels - zero[:, None]) @ integers.T).astype(F32) * (steps[None] * scale[:, None])
    assert found.tobytes() == (sums + model[0].bias.detach().numpy()).tobytes()


def test_choices_are_kept_apart_from_those_in_float32(tmp_path, monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", str(tmp_path))
    path = FILES / "lenet_300_100_best-0.terse"
    runtime.open(path, threads=1)
    first = runtime.open(path, threads=1, activations="int8").plan()
    again = runtime.open(path, threads=1, activations="int8").plan()
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert [row.kernel for row in first] == [row.kernel for row in again]
    data = path.read_bytes()
    assert cache.key(data, threads=1, batch=1) != cache.key(data, threads=1, batch=1, int8=True)


def test_another_arithmetic_is_refused():
    with pytest.raises(TersenetError, match="activations int4; expected float32 or int8"):
        runtime.open(FILES / "lenet5_paper-0.terse", activations="int4")
