"""Saved and loaded: the same answers, the same forms, the same files again; what cannot be stored is said."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

import tersenet
from tersenet import artifact
from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Dense, Sparse
from tersenet.graph import capture
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
