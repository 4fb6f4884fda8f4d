"""A session on eight-bit integers from a user's side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tersenet._core as _core
import torch
from int8_twin import F32, twin_inputs, twin_step

import tersenet
import tersenet.runtime as runtime
from tersenet import artifact
from tersenet.errors import TersenetError
from tersenet.forms import Sparse, Uniform
from tersenet.graph import Network, capture
from tersenet.graph.rounding import Grid, round_inputs
from tersenet.ir import Value, make_node
from tersenet.methods.activations import round_activations
from tersenet.runtime import cache

KERNELS = {"gemv8", "gemm8", "wsell8", "spmm8", "tiles8", "conv8"}
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
    in_floats = kernels - KERNELS
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


@pytest.mark.parametrize("column", ["scalar", "avx2", "avx512vnni", "neon", "dotprod"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_range_that_the_network_fixes_gives_the_bytes_and_sums_are_exact(signed, sparse, column, monkeypatch):
    monkeypatch.setenv("TERSENET_CPU", column)
    rng = np.random.default_rng(2)
    model = torch.nn.Sequential(torch.nn.Linear(300, 70)).eval()
    with torch.no_grad():
        model[0].weight *= torch.from_numpy(rng.random((70, 300)) < (0.1 if sparse else 1))
    plain = capture(model, torch.zeros(2, 300))
    plain.attach("0.weight", Sparse.fit(model[0].weight) if sparse else Uniform.fit(model[0].weight, bits=8, per="row"))
    grid = Grid(0.02, -128, 127) if signed else Grid(0.01, 0, 255)
    data = artifact.to_bytes(round_inputs(plain, {0: grid}), "raw")
    x = rng.standard_normal((66, 300)).astype(F32) * F32(3)  # some lie beyond the ends
    x[0, :20:4], x[1, 1::50] = F32(1e12), F32(-3e9)  # and far beyond those of int32
    levels = np.clip(np.rint(x * (F32(1) / F32(grid.scale))), grid.low, grid.high)
    weight = plain.dense("0.weight").detach().numpy()
    steps = np.array([twin_step(row) for row in weight])
    integers = np.rint(weight.astype(np.float64) / steps[:, None])
    expected = (levels @ integers.T).astype(F32) * (steps[None] * F32(grid.scale)) + model[0].bias.detach().numpy()
    try:
        session = runtime.open_bytes(data, threads=1, batch=66, activations="int8")
    except TersenetError as error:
        assert "this CPU and build run up to" in str(error)
        pytest.skip(str(error))
    tried = {row.kernel for row in session.plan()[-1].tried}
    assert {name.split("/")[0] for name in tried} >= ({"wsell8", "spmm8"} if sparse else {"gemv8", "gemm8"})
    assert {name.split("/")[0] for name in tried} <= KERNELS
    for kernel in tried:
        session = _core.open_session(np.frombuffer(data, np.uint8), 1, 0, 66, True, [("0.weight", kernel)])
        (found,) = session.run([x])
        assert found.tobytes() == expected.tobytes(), kernel


def test_a_convolution_with_a_fixed_range_answers_as_torch_does_on_the_same_grid():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(5, 9, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(9, 4, 1)).eval()
    x = torch.randn(3, 5, 8, 8)
    network = capture(model, x)
    for layer in network.weighted_layers():
        network.attach(layer.weight, Uniform.fit(network.dense(layer.weight), bits=8, per="row"))
    network, _ = round_activations(network, "*", [x])
    with torch.no_grad():
        truth = network(x).numpy()
    for activations in ("float32", "int8"):
        found = tersenet.accelerate(network, activations=activations)(x).numpy()
        assert np.abs(found - truth).max() <= 1e-5 * np.abs(truth).max()
    beyond = tersenet.accelerate(network, activations="int8")(torch.cat((x, 100 * x)))
    assert torch.equal(beyond[:3], tersenet.accelerate(network, activations="int8")(x))  # no range of its own


def test_in_torch_int8_answers_are_the_runtimes_bit_for_bit():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 5)
    ).eval()
    x = torch.randn(4, 3, 8, 8)
    for network in (
        capture(model, x),
        round_activations(capture(model, x), "*", [x])[0],
    ):  # dynamic ranges, and static ones
        session = runtime.open_bytes(artifact.to_bytes(network, "raw"), threads=1, activations="int8")
        in_torch = tersenet.accelerate(network, activations="int8")
        assert in_torch(x).numpy().tobytes() == session(x.numpy()).tobytes()


def test_nan_stays_nan_with_a_fixed_range():
    model = torch.nn.Sequential(torch.nn.Linear(8, 4)).eval()
    network, _ = round_activations(capture(model, torch.zeros(2, 8)), "*", [torch.randn(4, 8)])
    x = torch.ones(3, 8)
    x[1, 2] = torch.nan
    found = tersenet.accelerate(network, activations="int8")(x)
    assert found[1].isnan().all() and found[[0, 2]].isfinite().all()


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": -1.0}, {"quant_min": 5}, {"quant_max": 1 << 20}])
def test_a_grid_that_is_none_is_refused(wrong):
    given = {"scale": 0.1, "zero_point": 0, "quant_min": 0, "quant_max": 255} | wrong
    node = make_node("fake_quantize", self=Value(0), **given)
    graph = capture(torch.nn.Sequential(torch.nn.ReLU()), torch.zeros(2, 3)).graph
    data = artifact.to_bytes(Network(replace(graph, nodes=(node,)), {}), "raw")
    with pytest.raises(TersenetError, match="fake_quantize"):
        runtime.open_bytes(data)


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
