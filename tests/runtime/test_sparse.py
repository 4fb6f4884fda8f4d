"""Sparse weights with shared values as files have them: every length of row, density and number of values, on every column."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import tersenet
import tersenet.runtime as runtime
from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Sparse
from tersenet.graph import capture
from tersenet.methods.prune import keep_largest

COLUMNS = ["scalar", "avx2", "avx512", "avx512vnni", "neon"]
# rows, columns, share kept, shared values: rows within, of about, and far beyond sixteen entries; values beyond the 31 of a
# register; enough entries that threads share the work.
CASES = [
    (50, 7, 0.5, 4),
    (100, 40, 0.05, 8),
    (97, 300, 0.3, 20),
    (49, 300, 0.02, 30),
    (130, 1100, 0.7, 60),
    (300, 2500, 0.4, 33),
    (200, 5000, 0.09, 12),
    (1, 9000, 0.5, 16),
]


def layer(rows: int, cols: int, kept: float, values: int) -> torch.nn.Linear:
    torch.manual_seed(rows)
    model = torch.nn.Linear(cols, rows)
    with torch.no_grad():
        weight = keep_largest(torch.distributions.Laplace(0.0, 0.1).sample(model.weight.shape), kept)
        weight[rows // 2] = 0
        model.weight.copy_(weight)
    return model.eval()


@pytest.fixture
def file(tmp_path):
    def make(rows: int, cols: int, kept: float, values: int, coder: str = "huffman"):
        net = capture(layer(rows, cols, kept, values), torch.zeros(2, cols))
        (found,) = net.weighted_layers()
        form = Sparse.fit(net.dense(found.weight), values=partial(Codebook.fit, k=values, init="linear"))
        net.attach(found.weight, form)
        tersenet.save(net, tmp_path / "one.terse", coder=coder)
        return tmp_path / "one.terse", net.dense(found.weight).numpy(), net.dense(found.bias).numpy()

    return make


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_answers_as_its_dense_weight_does(file, case, column, threads, monkeypatch):
    path, weight, bias = file(*case)
    monkeypatch.setenv("TERSENET_CPU", column)
    try:
        session = runtime.open(path, threads=threads)
    except TersenetError as error:
        assert "this CPU and build run up to" in str(error)
        pytest.skip(str(error))
    x = np.random.default_rng(0).standard_normal((5, case[1]), dtype=np.float32)
    wanted = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    assert np.abs(session(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("coder", ["raw", "rans", "range"])
def test_each_coder_gives_the_same_weight(file, coder):
    path, weight, bias = file(130, 700, 0.2, 16, coder)
    x = np.ones((1, 700), np.float32)
    assert np.allclose(runtime.open(path, threads=2)(x), x @ weight.T + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("column", ["scalar", "avx2"])
@pytest.mark.parametrize("size", [*range(1, 40), 100, 127, 128, 129, 1000, 5000])
def test_the_checksum_is_zlibs_at_every_length(tmp_path, size, column, monkeypatch):
    """Python's zlib writes it; one other byte is found out."""
    monkeypatch.setenv("TERSENET_CPU", column)
    model = torch.nn.Linear(size, 1, bias=False).eval()
    tersenet.save(capture(model, torch.zeros(2, size)), tmp_path / "one.terse", coder="raw")
    data = bytearray((tmp_path / "one.terse").read_bytes())
    try:
        runtime.open(tmp_path / "one.terse")
    except TersenetError as error:
        assert "this CPU and build run up to" in str(error)
        pytest.skip(str(error))
    data[-1 - size] ^= 4
    (tmp_path / "one.terse").write_bytes(data)
    with pytest.raises(TersenetError, match="checksum does not match"):
        runtime.open(tmp_path / "one.terse")
