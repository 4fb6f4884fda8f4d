"""Laws of the kernels on eight-bit integers: the same bits from each, and those of a numpy twin of kernels/int8.h."""

from __future__ import annotations

import numpy as np
import pytest
import tersenet._core as _core
import torch
from int8_twin import F32, twin_inputs, twin_weights

SORTS = (
    *("sparse shared", "sparse many", "sparse free", "dense shared", "dense many", "dense free"),
    *("grid signs", "grid bytes", "grid nibbles by group"),
)
KERNELS = ("gemv8", "gemm8", "wsell8", "spmm8", "tiles8")
# Around blocks of 16 and of 6 rows, groups of 32, quads of columns, windows of 128, panels of 64, tiles of 16 x 64.
SHAPES = [
    (1, 1, 1.0),
    (15, 3, 0.9),
    (16, 4, 0.5),
    (33, 127, 0.3),
    (31, 129, 0.05),
    (97, 300, 0.2),
    (5, 1100, 0.02),
    (60, 40, 0.0),
]
BATCHES = (0, 1, 5, 63, 64, 65)


def twin(integers: np.ndarray, steps: np.ndarray, x: np.ndarray) -> np.ndarray:
    inputs, scale, zero = twin_inputs(x)
    sums = (inputs - zero[:, None]).astype(np.float64) @ integers.T.astype(np.float64)
    return sums.astype(F32) * (steps[None, :] * scale[:, None])


def int8_kernels(weight, threads: int = 1) -> list:
    found = _core.linear_kernels(*weight.dense.shape, *weight.arrays(), threads, int8=True, **weight.grid())
    return [kernel for kernel in found if kernel.name.split("/")[0] in KERNELS]


def answers(kernel, x: np.ndarray, rows: int, *more) -> np.ndarray:
    y = np.full((len(x), rows), np.nan, F32)
    kernel.run(x, y, len(x), *more)
    return y


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_kernel_gives_the_bits_of_the_twin(sort, shape, column, make_weight):
    weight = make_weight(sort, *shape)
    rng = np.random.default_rng(1)
    integers, steps = twin_weights(weight)
    found = int8_kernels(weight)
    names = {kernel.name.split("/")[0] for kernel in found}
    assert names - {"tiles8"} == {"gemv8", "gemm8"} | ({"wsell8", "spmm8"} if sort.startswith("sparse") else set())
    for batch in BATCHES:
        for x in (rng.standard_normal((batch, shape[1])), np.maximum(rng.standard_normal((batch, shape[1])), 0)):
            expected = twin(integers, steps, x.astype(F32))
            for kernel in found:
                assert answers(kernel, x.astype(F32), shape[0]).tobytes() == expected.tobytes(), kernel.name


def test_weights_on_a_grid_of_up_to_255_levels_keep_their_values(column, make_weight):
    weight = make_weight("dense free", 20, 64, 1.0)
    step = np.linspace(0.001, 0.3, 20, dtype=F32)[:, None]
    for levels in (1, 3, 7, 127):
        grid = np.random.default_rng(levels).integers(-levels, levels + 1, (20, 64))
        grid[:, 0] = levels
        dense = grid.astype(F32) * step
        weight.dense, weight.value = dense, dense.reshape(-1).copy()
        x = np.random.default_rng(5).integers(0, 256, (3, 64)).astype(F32)
        x[:, 1] = 255  # the bytes are the inputs themselves
        truth = x.astype(np.float64) @ dense.astype(np.float64).T
        for kernel in int8_kernels(weight):
            assert np.abs(answers(kernel, x, 20) - truth).max() <= 2e-6 * np.abs(truth).max(), kernel.name


@pytest.mark.parametrize("sort", ["sparse free", "dense free"])
def test_the_largest_weights_times_the_largest_inputs_overflow_nothing(sort, column, make_weight):
    """Rows of 127 and of -127, with a 1 so that the step stays; inputs of 255, of 1 and of 0 where zero is 128."""
    rows, cols = 40, 3001
    weight = make_weight(sort, rows, cols, 1.0)
    integers = np.where(np.arange(rows) % 2, -127, 127)[:, None].repeat(cols, 1)
    integers[:, -1] = 1
    weight.dense, weight.value = integers.astype(F32), integers.astype(F32).reshape(-1)
    x = np.array([1, 1, -1, 0.5], F32)[:, None].repeat(cols, 1)
    x[1, :3] = -1
    expected = twin(integers, np.ones(rows, F32), x)
    for kernel in int8_kernels(weight):
        assert answers(kernel, x, rows).tobytes() == expected.tobytes(), kernel.name


@pytest.mark.parametrize("sort", SORTS)
def test_answers_are_within_two_percent_of_the_float_ones(sort, column, make_weight):
    weight = make_weight(sort, 200, 300, 0.3)
    x = np.maximum(np.random.default_rng(2).standard_normal((4, 300)), 0).astype(F32)
    truth = x.astype(np.float64) @ weight.dense.T
    for kernel in int8_kernels(weight):
        assert np.abs(answers(kernel, x, 200) - truth).max() <= 0.02 * np.abs(truth).max(), kernel.name


@pytest.mark.parametrize("sort", SORTS)
def test_an_example_with_nan_or_infinity_answers_nan_and_its_neighbours_do_not(sort, column, make_weight):
    weight = make_weight(sort, 50, 40, 0.5)
    for wrong in (np.nan, np.inf, -np.inf):
        x = np.ones((3, 40), F32)
        x[1, 7] = wrong
        for kernel in int8_kernels(weight):
            y = answers(kernel, x, 50)
            assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all(), kernel.name


@pytest.mark.parametrize("value", [0.0, 1e-44, -1e-44, 3e38, -3e38])
def test_inputs_at_the_ends_of_float32_give_finite_answers(value, column, make_weight):
    weight = make_weight("dense free", 9, 30, 1.0)
    weight.dense[:] = np.eye(9, 30)
    weight.value = weight.dense.reshape(-1).copy()
    x = np.zeros((1, 30), F32)
    x[0, 3] = value
    for kernel in int8_kernels(weight):
        y = answers(kernel, x, 9)
        assert y[0, 3] == pytest.approx(value, rel=1e-5, abs=1e-37) and not y[0, [0, 1, 2, 4]].any()


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("batch", [1, 300])
def test_two_threads_and_an_epilogue_give_what_one_gives(sort, batch, column, make_weight):
    weight = make_weight(sort, 200, 150, 0.5)
    rng = np.random.default_rng(3)
    x, residual = rng.standard_normal((batch, 150)).astype(F32), rng.standard_normal((batch, 200)).astype(F32)
    scale, shift = rng.standard_normal(200).astype(F32), rng.standard_normal(200).astype(F32)
    truth = np.clip(twin(*twin_weights(weight), x) * scale + shift + residual, -0.5, 1.0)
    for one, two in zip(int8_kernels(weight), int8_kernels(weight, threads=2)):
        y = answers(one, x, 200, scale, shift, residual, "clamp", -0.5, 1.0)
        assert np.abs(y - truth).max() <= 1e-4
        assert answers(two, x, 200, scale, shift, residual, "clamp", -0.5, 1.0).tobytes() == y.tobytes()


# Around parts of 1024 rows, and 512 columns, which spmm8 and tiles8 take at a time; more panels than are in memory at once.
@pytest.mark.parametrize("shape", [(1040, 530, 0.05), (1, 7, 0.5), (33, 129, 0.1)], ids=str)
@pytest.mark.parametrize("sort", ["sparse shared", "sparse skewed", "sparse many", "dense free"])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_column_gives_the_scalar_bits_epilogue_nan_and_all(sort, shape, threads, column, make_weight, monkeypatch):
    weight = make_weight(sort, *shape)
    rows, cols = shape[:2]
    rng = np.random.default_rng(4)
    scale, shift = rng.standard_normal(rows).astype(F32), rng.standard_normal(rows).astype(F32)
    found = int8_kernels(weight, threads)
    monkeypatch.setenv("TERSENET_CPU", "scalar")
    scalar = int8_kernels(weight)[-2]
    for batch in (1, 65) if rows > 1000 else (5, 200, 600):
        x, residual = rng.standard_normal((batch, cols)).astype(F32), rng.standard_normal((batch, rows)).astype(F32)
        x[0] = np.abs(x[0])
        x[2:3, 1], x[4:5, 0] = np.nan, np.inf
        for more in (
            (),
            (scale, shift, residual, "clamp", 0.0, np.inf),
            (None, shift, None, "clamp", -0.5, 1.0),
            (None, None, residual, "leaky", 0.1),
        ):
            expected = answers(scalar, x, rows, *more)
            for kernel in found:
                y = answers(kernel, x, rows, *more)
                assert y.tobytes() == expected.tobytes(), kernel.name


def test_a_matrix_too_wide_for_exact_sums_or_with_nan_has_no_such_kernel(make_weight):
    assert not int8_kernels(make_weight("sparse free", 2, 66_400, 0.001))
    weight = make_weight("dense free", 3, 3, 1.0)
    weight.value[4] = np.nan
    assert not int8_kernels(weight)


# in, out, groups, kernel, stride, dilation, pad (top, left, bottom, right), image: around quads of channels and 64 pixels.
CONVOLUTIONS = [
    (3, 16, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (12, 12)),
    (5, 13, 1, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1), (9, 13)),
    (40, 20, 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (7, 7)),
    (40, 20, 1, (1, 1), (2, 2), (1, 1), (0, 0, 0, 0), (9, 8)),
    (2, 3, 1, (7, 3), (3, 4), (2, 1), (2, 1, 3, 0), (31, 12)),
    (12, 14, 2, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (5, 6)),
]


@pytest.mark.parametrize("sort", ("sparse shared", "dense free"))
@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_a_convolution_gives_the_bits_of_the_twin(sort, shape, column, make_weight):
    inputs, outputs, groups, kernel, stride, dilation, pad, image = shape
    weight = make_weight(sort, outputs, inputs // groups * kernel[0] * kernel[1], 0.4)
    integers, steps = twin_weights(weight)
    sizes = [inputs, outputs, groups, *kernel, *stride, *dilation, *pad, *image]
    for x in (np.random.default_rng(1).standard_normal((3, inputs, *image)), np.ones((1, inputs, *image))):
        levels, scale, zero = twin_inputs(x.astype(F32).reshape(len(x), -1))
        padded = torch.nn.functional.pad(
            torch.from_numpy(levels - zero[:, None]).double().reshape(x.shape), (pad[1], pad[3], pad[0], pad[2])
        )
        dense = torch.from_numpy(integers).double().reshape(outputs, inputs // groups, *kernel)
        sums = torch.nn.functional.conv2d(padded, dense, None, stride, 0, dilation, groups).numpy()
        expected = sums.astype(F32) * (steps[None, :] * scale[:, None])[:, :, None, None]
        for threads in (1, 2):
            found = _core.conv_kernels(sizes, *weight.arrays(), threads, int8=True)
            (made,) = [kernel for kernel in found if kernel.name.startswith("conv8/")]
            y = np.full(sums.shape, np.nan, F32)
            made.run(x.astype(F32), y, len(x))
            assert y.tobytes() == expected.tobytes()
