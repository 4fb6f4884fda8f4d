"""Laws of all kernels of a linear layer, in every column: the product, the epilogue, NaN, threads."""

from __future__ import annotations

import numpy as np
import pytest
import tersenet._core as _core

CODES = (
    *("dense shared", "dense few", "dense 16", "dense 17", "dense 60", "dense 100", "dense 200", "dense byte"),
    *("dense opposite", "grid signs", "grid ternary", "grid nibbles", "grid nibbles by group"),
    *(
        "grid bytes",
        "grid bytes by group",
        "grid bytes by rows",
        "grid nibbles by column",
        "grid bytes by column",
        "grid bytes by column, zeros",
    ),
)
SORTS = ("sparse shared", "sparse skewed", "sparse many", "sparse free", "dense free", "grid wide", *CODES)
# rows, columns, density: around 48 rows and windows of 32 columns, 16 and 8 lanes, blocks of 6, tiles of 256.
SHAPES = [
    (1, 1, 1.0),
    (1, 31, 0.5),
    (47, 32, 0.3),
    (48, 33, 0.3),
    (49, 64, 0.05),
    (97, 255, 0.2),
    (7, 257, 0.9),
    (300, 513, 0.08),
    (5, 70_000, 0.01),
    (60, 40, 0.0),
]
BATCHES = (0, 1, 2, 3, 6, 7, 64, 65)


def close(ours: np.ndarray, truth: np.ndarray, terms: int = 1) -> None:
    """float32 sums of very many terms are less exact than 1e-5: errors grow with the root of their number."""
    bound = 1e-5 * max(1, (terms / 4096) ** 0.5)
    scale = max(float(np.abs(truth).max(initial=0)), 1e-3)
    assert float(np.abs(ours - truth).max(initial=0)) <= bound * scale


def kernels(weight, threads: int = 1) -> list:
    return _core.linear_kernels(*weight.dense.shape, *weight.arrays(), threads, **weight.grid())


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_kernel_multiplies_as_double_precision_does(sort, shape, column, make_weight):
    weight = make_weight(sort, *shape)
    rng = np.random.default_rng(1)
    found = kernels(weight)
    assert found and all(kernel.bytes > 0 for kernel in found)
    for batch in BATCHES:
        x = rng.standard_normal((batch, shape[1])).astype(np.float32)
        truth = x.astype(np.float64) @ weight.dense.T.astype(np.float64)
        for kernel in found:
            y = np.full((batch, shape[0]), np.nan, np.float32)
            kernel.run(x, y, batch)
            close(y, truth, shape[1])


@pytest.mark.parametrize("sort", SORTS)
def test_the_epilogue_scales_shifts_adds_and_activates(sort, column, make_weight):
    weight = make_weight(sort, 70, 90, 0.3)
    rng = np.random.default_rng(2)
    for batch in (1, 5):
        x, residual = (
            rng.standard_normal((batch, 90)).astype(np.float32),
            rng.standard_normal((batch, 70)).astype(np.float32),
        )
        scale, shift = rng.standard_normal(70).astype(np.float32), rng.standard_normal(70).astype(np.float32)
        sums = (x.astype(np.float64) @ weight.dense.T) * scale + shift + residual
        for kernel in kernels(weight):
            for activation, truth in (
                ("none", sums),
                ("clamp", np.clip(sums, -0.5, 1.0)),
                ("leaky", np.where(sums < 0, -0.5 * sums, sums)),
            ):
                y = np.empty((batch, 70), np.float32)
                kernel.run(x, y, batch, scale, shift, residual, activation, -0.5, 1.0)
                close(y, truth)


@pytest.mark.parametrize("sort", SORTS)
def test_nan_and_infinity_reach_the_rows_that_read_them(sort, column, make_weight):
    weight = make_weight(sort, 50, 40, 0.5)
    for wrong in (np.nan, np.inf):
        x = np.ones((1, 40), np.float32)
        x[0, 7] = wrong
        reads = weight.dense[:, 7] != 0
        for kernel in kernels(weight):
            y = np.zeros((1, 50), np.float32)
            kernel.run(x, y, 1)
            assert not np.isfinite(y[0, reads]).any(), kernel.name


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("batch", [1, 70])
def test_two_threads_give_what_one_gives(sort, batch, column, make_weight):
    weight = make_weight(sort, 700, 600, 0.5)
    x = np.random.default_rng(3).standard_normal((batch, 600)).astype(np.float32)
    for one, two in zip(kernels(weight), kernels(weight, threads=2)):
        y, z = np.empty((batch, 700), np.float32), np.empty((batch, 700), np.float32)
        one.run(x, y, batch)
        for _ in range(5):
            two.run(x, z, batch)
            assert y.tobytes() == z.tobytes(), one.name


@pytest.mark.parametrize("sort", CODES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 31), (6, 192), (25, 193), (49, 400), (97, 1000)], ids=str)
def test_codes_give_the_bits_that_floats_give(sort, shape, column, make_weight):
    weight = make_weight(sort, *shape, 1.0)
    for batch in (1, 17, 70):
        x = np.random.default_rng(4).standard_normal((batch, shape[1])).astype(np.float32)
        answers = {}
        for kernel in kernels(weight):
            y = np.empty((batch, shape[0]), np.float32)
            kernel.run(x, y, batch)
            answers[kernel.name.split("/")[0]] = y.tobytes()
        assert answers["gemm-codes8"] == answers["gemm"]


def test_a_matrix_that_does_not_hold_together_is_refused(make_weight):
    weight = make_weight("sparse shared", 4, 6, 0.5)
    start, col, codebook, code, _ = weight.arrays()
    for broken in (
        (start[:-1], col, codebook, code, None),
        (start, col[::-1].copy(), codebook, code, None),
        (start, col + 6, codebook, code, None),
        (start, col, codebook[:1], code + 1, None),
        (start, col, codebook, code, np.ones(len(code), np.float32)),
    ):
        with pytest.raises(ValueError):
            _core.linear_kernels(4, 6, *broken, 1)
