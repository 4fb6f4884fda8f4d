"""Dense layers of four and eight bits from a user's side: they answer as in float32 and stay codes in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tersenet.runtime as runtime
from tersenet import artifact
from tersenet.forms import Codebook, Columns, Ternary, Uniform
from tersenet.graph import Network, capture

ROWS, COLS = 150, 1160
DENSE = 4 * ROWS * COLS


def saved(form: type, folder: Path, **options: object) -> tuple[Network, Path]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(COLS, ROWS)).eval()
    network = capture(model, torch.zeros(2, COLS))
    network.attach("0.weight", form.fit(model[0].weight, **options))
    artifact.save(network, folder / "net.terse", coder="raw")
    return network, folder / "net.terse"


@pytest.mark.parametrize(
    ("form", "options", "kernel", "share"),
    [
        (Uniform, {"bits": 4, "per": "row"}, "codes4", 1 / 7),
        (Uniform, {"bits": 4, "per": "row", "symmetric": False}, "codes4", 1 / 7),
        (Uniform, {"bits": 4, "per": "tensor"}, "codes4", 1 / 7),
        (Uniform, {"bits": 4, "per": 40}, "codes4", 1 / 4),
        (Uniform, {"bits": 8, "per": "row"}, "levels8", 1 / 3.5),
        (Uniform, {"bits": 8, "per": "tensor", "symmetric": False}, "levels8", 1 / 3.5),
        (Uniform, {"bits": 8, "per": 116, "symmetric": False}, "levels8", 1 / 3),
        (Codebook, {"k": 16}, "codes4", 1 / 7),
        (Codebook, {"k": 256}, "codes8", 1 / 3.5),
        (Ternary, {}, "codes4", 1 / 7),
        (Columns, {"bits": 4}, "codes4", 1 / 6),
        (Columns, {"bits": 8}, "levels8", 1 / 3),
        (Columns, {"bits": 8, "symmetric": False}, "gemm-codes8", 1 / 3.5),
    ],
)
def test_a_layer_of_few_bits_stays_so(form, options, kernel, share, tmp_path):
    network, path = saved(form, tmp_path, **options)
    session = runtime.open(path, threads=1)
    (row,) = session.plan()
    tried = {one.kernel.split("/")[0]: one.size_bytes for one in row.tried}
    assert tried[kernel] <= share * DENSE
    assert {"gemv", "gemm"} <= set(tried)  # small enough to be dense where that is faster
    x = torch.randn(5, COLS)
    with torch.no_grad():
        truth = network(x).numpy()
    assert np.abs(session(x.numpy()) - truth).max() <= 1e-5 * np.abs(truth).max()


def test_a_layer_too_large_to_be_dense_unasked_is_not_tried_dense(tmp_path):
    model = nn.Sequential(nn.Linear(2048, 1025, bias=False)).eval()  # 8 MiB and a row
    network = capture(model, torch.zeros(2, 2048))
    network.attach("0.weight", Uniform.fit(model[0].weight, bits=4, per="row"))
    artifact.save(network, tmp_path / "net.terse", coder="raw")
    session = runtime.open(tmp_path / "net.terse", threads=1)
    assert {one.kernel.split("/")[0] for row in session.plan() for one in row.tried} == {"codes4", "gemm-codes8"}
    assert session.weight_bytes <= 4 * 2048 * 1025 / 3.9


def tried_by(layer: nn.Module, form: object, folder: Path) -> tuple[dict[str, int], runtime.Session, Network]:
    """Kernels that were tried for a convolution of 4 x 4 images, and their bytes."""
    network = capture(nn.Sequential(layer).eval(), torch.zeros(2, layer.in_channels, 4, 4))
    if form is not None:
        network.attach("0.weight", form)
    artifact.save(network, folder / "net.terse", coder="raw")
    session = runtime.open(folder / "net.terse", threads=1)
    (row,) = session.plan()
    return {one.kernel.split("/")[0]: one.size_bytes for one in row.tried}, session, network


@pytest.mark.parametrize(
    ("form", "options"),
    [
        (Uniform, {"bits": 8, "per": "row"}),
        (Uniform, {"bits": 4, "per": "tensor"}),
        (Codebook, {"k": 64}),
        (Columns, {"bits": 8}),
    ],
)
def test_a_convolution_stays_codes(form, options, tmp_path):
    torch.manual_seed(0)
    layer = nn.Conv2d(48, 50, 3, padding=1)
    tried, session, network = tried_by(layer, form.fit(layer.weight, **options), tmp_path)
    assert tried["gemm-codes8"] <= tried["gemm"] / 3.2
    x = torch.randn(3, 48, 4, 4)
    with torch.no_grad():
        truth = network(x).numpy()
    assert np.abs(session(x.numpy()) - truth).max() <= 1e-5 * np.abs(truth).max()


def test_winograd_takes_part_only_where_its_own_form_is_small_enough(tmp_path):
    layer = nn.Conv2d(448, 450, 3, padding=1, bias=False)  # 7 MB of floats, 13 transformed, 2 of codes
    tried, _, _ = tried_by(layer, Uniform.fit(layer.weight, bits=8, per="row"), tmp_path)
    assert set(tried) == {"gemm-codes8", "gemm"}
    tried, _, _ = tried_by(layer, None, tmp_path)
    assert set(tried) == {"gemm", "winograd"}


def test_a_grid_of_many_zeros_becomes_sparse(tmp_path):
    network, path = saved(Uniform, tmp_path, bits=8, per="row")
    form = network.form("0.weight")
    level = form.level * (torch.rand(form.level.shape) < 0.05)
    network.detach("0.weight")
    network.attach("0.weight", Uniform(level, form.step))
    artifact.save(network, path, coder="raw")
    (row,) = runtime.open(path, threads=1).plan()
    assert {one.kernel.split("/")[0] for one in row.tried} >= {"csr16", "spmm"}
