"""Saved and loaded: the same answers, the same forms, the same files again; what cannot be stored is said."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import tersenet
from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Dense, Sparse
from tersenet.graph import Network, capture
from tersenet.methods.prune import keep_largest


class Small(nn.Module):
    """Everything a file must carry: convolution, BatchNorm, a constant, a buffer of integers, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.again = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(8 * 6 * 6, 5)
        self.register_buffer("shift", torch.linspace(-1, 1, 8).reshape(8, 1, 1))

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))) + self.shift
        return self.head(torch.flatten(x + self.again(x), 1))


@pytest.fixture()
def net():
    torch.manual_seed(0)
    model = Small()
    for _ in range(3):
        model(torch.randn(8, 1, 6, 6))
    return capture(model.eval(), torch.zeros(2, 1, 6, 6))


def _compressed(net):
    net.attach("conv.weight", Codebook.fit(net.dense("conv.weight"), k=7, init="linear"))
    sparse = keep_largest(net.dense("head.weight"), 0.1)
    net.attach("head.weight", Sparse.fit(sparse, values=partial(Codebook.fit, k=8, init="optimum", table="float16")))
    net.attach("again.weight", Dense.fit(net.dense("again.weight"), dtype="float16"))
    return net


@pytest.mark.parametrize("coder", ["raw", "huffman", "rans"])
@pytest.mark.parametrize("compressed", [False, True], ids=["lossless", "compressed"])
def test_a_loaded_network_answers_with_the_same_bits(net, tmp_path, coder, compressed):
    if compressed:
        _compressed(net)
    artifact.save(net, tmp_path / "a.terse", coder=coder)
    x = torch.randn(5, 1, 6, 6)
    expected = net.eval()(x)
    for dense in (False, True):
        loaded = tersenet.load(tmp_path / "a.terse", dense=dense).eval()
        assert torch.equal(loaded(x), expected)
        for name in net.graph.parameters:
            assert loaded.dense(name).numpy().tobytes() == net.dense(name).numpy().tobytes(), name
    assert list(tersenet.load(tmp_path / "a.terse").forms()) == list(net.forms())
    assert not tersenet.load(tmp_path / "a.terse", dense=True).forms()


def test_saving_what_was_loaded_gives_the_same_file(net, tmp_path):
    _compressed(net)
    artifact.save(net, tmp_path / "a.terse", provenance={"seed": 1})
    artifact.save(tersenet.load(tmp_path / "a.terse"), tmp_path / "b.terse", provenance={"seed": 1})
    assert (tmp_path / "a.terse").read_bytes() == (tmp_path / "b.terse").read_bytes()


def test_a_loaded_network_trains_on_and_zeros_stay(net, tmp_path):
    artifact.save(_compressed(net), tmp_path / "a.terse")
    loaded = tersenet.load(tmp_path / "a.terse").train()
    optimiser = torch.optim.SGD(loaded.parameters(), lr=0.05)
    x, y = torch.randn(64, 1, 6, 6), torch.randint(0, 5, (64,))
    zeros = loaded.dense("head.weight") == 0
    losses = []
    for _ in range(100):
        loss = nn.functional.cross_entropy(loaded(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(loaded.dense("head.weight") == 0, zeros)
    assert len(loaded.dense("conv.weight").unique()) <= 7


def test_mostly_zero_weights_are_stored_sparse_without_being_asked_and_negative_zeros_survive(net, tmp_path):
    with torch.no_grad():
        net.layer("head").weight.copy_(keep_largest(net.dense("head.weight"), 0.05))
    artifact.save(net, tmp_path / "a.terse")
    forms = {row.name: row.form for row in tersenet.size(tmp_path / "a.terse")}
    assert forms["head.weight"] == "sparse(dense(float32))"
    with torch.no_grad():
        net.layer("head").weight[0, 0] = -0.0
    artifact.save(net, tmp_path / "b.terse")
    loaded = tersenet.load(tmp_path / "b.terse").dense("head.weight")
    assert loaded.numpy().tobytes() == net.dense("head.weight").numpy().tobytes()


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_network_of_another_float_type_runs_as_before(dtype, dense, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 3))
    with torch.no_grad():  # what float16 holds, and mostly zeros: stored as no plain float32 table
        model[0].weight.copy_(model[0].weight.half())
        model[2].weight.copy_(keep_largest(model[2].weight, 0.1))
    net = capture(model.to(dtype), torch.zeros(2, 6, dtype=dtype))
    artifact.save(net, tmp_path / "a.terse")
    loaded = tersenet.load(tmp_path / "a.terse", dense=dense)
    for name, tensor in net.tensors().items():
        assert loaded.dense(name).dtype == dtype and torch.equal(loaded.dense(name), tensor), name
    x = torch.randn(5, 6, dtype=dtype)
    assert torch.equal(loaded(x), net(x))


@pytest.mark.parametrize("dense", [False, True])
def test_a_loaded_network_shares_no_memory_with_the_contents(net, dense):
    contents = decode(artifact.to_bytes(net))
    first, second = (artifact.from_contents(contents, dense=dense) for _ in range(2))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    for name in net.graph.parameters:
        assert torch.equal(second.dense(name), net.dense(name)), name
    assert artifact.to_bytes(artifact.from_contents(contents)) == artifact.to_bytes(net)


def test_a_tensor_without_elements_is_stored(tmp_path):
    net = capture(nn.Linear(3, 2), torch.zeros(2, 3))
    graph = replace(net.graph, parameters={**net.graph.parameters, "none": "float32", "no": "int64"})
    empty = {"none": torch.zeros(0, 3), "no": torch.zeros(0, dtype=torch.int64)}
    artifact.save(Network(graph, {**net.tensors(), **empty}), tmp_path / "a.terse")
    assert tersenet.load(tmp_path / "a.terse").dense("none").shape == (0, 3)


@pytest.mark.parametrize(
    ("captured", "later"), [("float32", "float64"), ("float16", "float32"), ("bfloat16", "float32")]
)
def test_a_type_that_changed_after_the_capture_never_loses_digits_silently(captured, later, tmp_path):
    captured, later = getattr(torch, captured), getattr(torch, later)
    net = capture(nn.Linear(3, 2).to(captured), torch.zeros(2, 3, dtype=captured)).to(later)
    artifact.save(net, tmp_path / "exact.terse")
    with torch.no_grad():
        net.layer("").weight += 1e-4 * net.layer("").weight ** 2
    with pytest.raises(TersenetError, match=r"'weight' is float(64|32) and does not fit b?float(32|16)"):
        artifact.save(net, tmp_path / "a.terse")


@pytest.mark.parametrize("value", [-3, 2**32])
def test_an_integer_that_cannot_be_stored_is_named(value, tmp_path):
    net = capture(nn.Linear(3, 2), torch.zeros(2, 3))
    graph = replace(net.graph, parameters={**net.graph.parameters, "offset": "int64"})
    net = Network(graph, {**net.tensors(), "offset": torch.tensor([7, value])})
    sentence = f"tensor 'offset' holds the integer {value}; 0 to 4294967295 can be stored"
    with pytest.raises(TersenetError, match=f"^{sentence}$"):
        artifact.save(net, tmp_path / "a.terse")


def test_what_does_not_fit_the_file_is_refused_by_name(tmp_path):
    double = capture(nn.Linear(3, 2).double(), torch.zeros(2, 3, dtype=torch.float64))
    artifact.save(double, tmp_path / "exact.terse")
    (tmp_path / "exact.terse").unlink()
    with torch.no_grad():
        double.layer("").weight += 1e-12
    with pytest.raises(TersenetError, match="'weight' is float64"):
        artifact.save(double, tmp_path / "a.terse")
    net = capture(nn.Linear(3, 2), torch.zeros(2, 3))
    net.attach("weight", _NotOurs())
    with pytest.raises(TersenetError, match="'weight' is held by a _NotOurs"):
        artifact.save(net, tmp_path / "a.terse")
    assert not list(tmp_path.iterdir())


class _NotOurs(nn.Module):
    def forward(self):
        return torch.ones(2, 3)


@pytest.mark.parametrize("problem", ["missing", "folder", "empty", "cut", "other"])
def test_files_that_are_not_there_or_not_whole_are_refused_with_their_name(net, tmp_path, problem):
    path = tmp_path / "x.terse"
    if problem == "folder":
        path.mkdir()
    elif problem != "missing":
        artifact.save(net, path)
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "cut": whole[:-1], "other": b"PK\3\4" + bytes(100)}[problem])
    with pytest.raises(TersenetError, match=r"x\.terse: "):
        tersenet.load(path)
