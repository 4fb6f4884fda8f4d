"""A matrix of each sort, every kernel that takes it, and the answer in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import tersenet._core as _core

COLUMNS = ("scalar", "avx2", "avx512", "avx512vnni", "neon", "dotprod")


@dataclass
class Weight:
    """Arrays as `_core.linear_kernels` takes them, and the same as a dense array."""

    dense: np.ndarray
    row_start: np.ndarray | None
    col: np.ndarray | None
    codebook: np.ndarray | None
    code: np.ndarray | None
    value: np.ndarray | None
    step: np.ndarray | None = None
    zero: np.ndarray | None = None
    by_column: bool = False

    def arrays(self) -> tuple:
        return (self.row_start, self.col, self.codebook, self.code, self.value)

    def grid(self) -> dict:
        """Arguments of those that have steps."""
        return {} if self.step is None else {"step": self.step, "zero": self.zero, "by_column": self.by_column}


# How many levels a grid has, what has a step of its own, and whether zeros differ.
GRIDS = {
    "signs": (2, "row", False),
    "ternary": (3, "row", False),
    "nibbles": (16, "row", True),
    "nibbles by group": (16, "group", True),
    "bytes": (255, "row", True),
    "bytes by group": (256, "group", True),
    "bytes by rows": (200, "rows", False),
    "wide": (1000, "row", True),
    "nibbles by column": (15, "column", False),
    "bytes by column": (255, "column", False),
    "bytes by column, zeros": (256, "column", True),
}


def grid_of(sort: str, rows: int, cols: int, seed: int) -> Weight:
    """Integers with a step for each row, for groups along a row, or for a few rows."""
    levels, per, differ = GRIDS[sort]
    rng = np.random.default_rng(seed)
    size = max(n for n in range(1, 33) if cols % n == 0) if per == "group" else cols
    if per == "rows":
        size *= max(n for n in range(1, 4) if rows % n == 0)
    runs = cols if per == "column" else rows * cols // size
    code = rng.integers(0, levels, rows * cols).astype(np.uint16)
    codebook = np.arange(levels, dtype=np.float32)
    zero = rng.integers(0, levels, runs).astype(np.float32) if differ else np.full(runs, levels // 2, np.float32)
    if sort == "signs":
        codebook, zero = np.array([0, 2], np.float32), np.ones(runs, np.float32)
    step = (rng.uniform(0.01, 1, runs) * 2 / levels).astype(np.float32)
    if per == "column":
        dense = (codebook[code].reshape(rows, cols) - zero) * step
    else:
        dense = (codebook[code].reshape(runs, size) - zero[:, None]) * step[:, None]
    return Weight(dense.reshape(rows, cols), None, None, codebook, code, None, step, zero, per == "column")


def weight_of(sort: str, rows: int, cols: int, density: float, seed: int = 0) -> Weight:
    """sparse or dense; `shared` has 31 values, `skewed` 40, of which few are common, `many` 300, `free` as many as weights;
    `few` 13, `byte` 256, `opposite` two, a number as many; or "grid" and one of GRIDS.
    """
    if sort.startswith("grid "):
        return grid_of(sort.removeprefix("grid "), rows, cols, seed)
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
    word = sort.split()[1]
    values = (
        int(word)
        if word.isdigit()
        else {"shared": 31, "skewed": 40, "many": 300, "few": 13, "byte": 256, "opposite": 2}[word]
    )
    codebook = rng.standard_normal(values).astype(np.float32)
    if sort.endswith("opposite"):
        codebook = np.array([0.3, -0.3], np.float32)
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
