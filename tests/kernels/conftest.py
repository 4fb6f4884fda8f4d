"""A matrix of each sort, every kernel that takes it, and the answer in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import tersenet._core as _core

COLUMNS = ("scalar", "avx2", "avx512", "avx512vnni", "neon")


@dataclass
class Weight:
    """Arrays as `_core.linear_kernels` takes them, and the same as a dense array."""

    dense: np.ndarray
    row_start: np.ndarray | None
    col: np.ndarray | None
    codebook: np.ndarray | None
    code: np.ndarray | None
    value: np.ndarray | None

    def arrays(self) -> tuple:
        return (self.row_start, self.col, self.codebook, self.code, self.value)


def weight_of(sort: str, rows: int, cols: int, density: float, seed: int = 0) -> Weight:
    """sparse or dense; `shared` has 31 values, `skewed` 40, of which few are common, `many` 300, `free` as many as weights."""
    rng = np.random.default_rng(seed)
    keep = rng.random((rows, cols)) < (density if sort.startswith("sparse") else 2.0)
    count = int(keep.sum())
    row_start = col = None
    if sort.startswith("sparse"):
        row_start = np.concatenate(([0], np.cumsum(keep.sum(1)))).astype(np.uint32)
        col = np.nonzero(keep)[1].astype(np.uint32)
    dense = np.zeros((rows, cols), np.float32)
    if sort.endswith("free"):
        value = rng.standard_normal(count).astype(np.float32)
        dense[keep] = value
        return Weight(dense, row_start, col, None, None, value)
    values = {"shared": 31, "skewed": 40, "many": 300}[sort.split()[1]]
    codebook = rng.standard_normal(values).astype(np.float32)
    code = rng.integers(0, values, count).astype(np.uint16)
    if sort.endswith("skewed"):
        code = np.minimum(rng.geometric(0.2, count) - 1, values - 1).astype(np.uint16)
    dense[keep] = codebook[code]
    return Weight(dense, row_start, col, codebook, code, None)


@pytest.fixture(params=COLUMNS)
def column(request, monkeypatch) -> str:
    """Each column of kernels that this machine and build have."""
    monkeypatch.setenv("TERSENET_CPU", request.param)
    try:
        _core.cpu_target()
    except ValueError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def make_weight():
    return weight_of
