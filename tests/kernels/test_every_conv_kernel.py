"""Laws of all kernels of a convolution, in every column, against torch in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import tersenet._core as _core
import torch

CODES = (
    *("dense 3", "dense 16", "dense 17", "dense 100", "dense 200", "dense byte"),
    *(
        "grid signs",
        "grid nibbles",
        "grid bytes",
        "grid bytes by group",
        "grid bytes by rows",
        "grid nibbles by column",
        "grid bytes by column",
        "grid bytes by column, zeros",
    ),
)
SORTS = ("sparse shared", "sparse free", "dense shared", "dense free", "grid wide", *CODES)
# in, out, groups, kernel, stride, dilation, pad (top, left, bottom, right), image
SHAPES = [
    (3, 16, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (32, 32)),
    (16, 7, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (8, 8)),
    (5, 13, 1, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1), (9, 13)),
    (5, 13, 1, (3, 3), (2, 2), (1, 1), (1, 1, 0, 0), (10, 7)),
    (40, 20, 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (7, 7)),
    (40, 20, 1, (1, 1), (2, 2), (1, 1), (0, 0, 0, 0), (9, 8)),
    (1, 20, 1, (5, 5), (1, 1), (1, 1), (0, 0, 0, 0), (28, 28)),
    (2, 3, 1, (7, 3), (3, 4), (2, 1), (2, 1, 3, 0), (31, 12)),
    (8, 12, 4, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (5, 6)),
    (6, 6, 6, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (17, 5)),
    (6, 6, 6, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1), (16, 15)),
    (6, 12, 6, (2, 5), (3, 1), (1, 2), (1, 4, 1, 4), (7, 9)),
    (64, 9, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (4, 4)),
    (4, 4, 1, (1, 9), (1, 2), (1, 1), (0, 4, 0, 4), (1, 100)),
    (3, 2, 1, (4, 4), (1, 1), (1, 1), (0, 0, 0, 0), (4, 4)),
]


def setting(sort: str, shape, make_weight, threads: int = 1):
    in_channels, out_channels, groups, kernel, stride, dilation, pad, image = shape
    weight = make_weight(sort, out_channels, in_channels // groups * kernel[0] * kernel[1], 0.4)
    sizes = [in_channels, out_channels, groups, *kernel, *stride, *dilation, *pad, *image]
    return weight, _core.conv_kernels(sizes, *weight.arrays(), threads, **weight.grid())


def truth_of(weight, shape, x: np.ndarray) -> np.ndarray:
    in_channels, out_channels, groups, kernel, stride, dilation, pad, _ = shape
    padded = torch.nn.functional.pad(torch.from_numpy(x).double(), (pad[1], pad[3], pad[0], pad[2]))
    dense = torch.from_numpy(weight.dense).double().reshape(out_channels, in_channels // groups, *kernel)
    return torch.nn.functional.conv2d(padded, dense, None, stride, 0, dilation, groups).numpy()


def close(ours: np.ndarray, truth: np.ndarray) -> None:
    scale = max(float(np.abs(truth).max(initial=0)), 1e-3)
    assert float(np.abs(ours - truth).max(initial=0)) <= 1e-5 * scale


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_kernel_convolves_as_double_precision_does(sort, shape, column, make_weight):
    weight, found = setting(sort, shape, make_weight)
    assert found
    for batch in (0, 1, 3):
        x = np.random.default_rng(1).standard_normal((batch, shape[0], *shape[7])).astype(np.float32)
        truth = truth_of(weight, shape, x)
        for kernel in found:
            y = np.full(truth.shape, np.nan, np.float32)
            kernel.run(x, y, batch)
            close(y, truth)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[10]], ids=str)
def test_the_epilogue_scales_shifts_adds_and_activates(sort, shape, column, make_weight):
    weight, found = setting(sort, shape, make_weight)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, shape[0], *shape[7])).astype(np.float32)
    sums = truth_of(weight, shape, x)
    scale, shift = rng.standard_normal(shape[1]).astype(np.float32), rng.standard_normal(shape[1]).astype(np.float32)
    residual = rng.standard_normal(sums.shape).astype(np.float32)
    sums = sums * scale[:, None, None] + shift[:, None, None] + residual
    for kernel in found:
        for activation, truth in (
            ("none", sums),
            ("clamp", np.clip(sums, 0, 6)),
            ("leaky", np.where(sums < 0, 0.1 * sums, sums)),
        ):
            y = np.empty(sums.shape, np.float32)
            low = 0.1 if activation == "leaky" else 0.0
            kernel.run(x, y, 2, scale, shift, residual, activation, low, 6.0)
            close(y, truth)


@pytest.mark.parametrize("sort", CODES)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[2] < shape[0]], ids=str)
def test_codes_give_the_bits_that_floats_give(sort, shape, column, make_weight):
    weight, found = setting(sort, shape, make_weight)
    x = np.random.default_rng(4).standard_normal((2, shape[0], *shape[7])).astype(np.float32)
    answers = {}
    for kernel in found:
        y = np.empty(truth_of(weight, shape, x).shape, np.float32)
        kernel.run(x, y, 2)
        answers[kernel.name.split("/")[0]] = y.tobytes()
    assert answers["gemm-codes8"] == answers["gemm"]


@pytest.mark.parametrize("sort", SORTS)
def test_two_threads_give_what_one_gives(sort, column, make_weight):
    shape = SHAPES[0]
    x = np.random.default_rng(3).standard_normal((4, shape[0], *shape[7])).astype(np.float32)
    _, one = setting(sort, shape, make_weight)
    _, two = setting(sort, shape, make_weight, threads=2)
    for a, b in zip(one, two):
        y, z = np.empty((4, 16, 32, 32), np.float32), np.empty((4, 16, 32, 32), np.float32)
        a.run(x, y, 4)
        for _ in range(5):
            b.run(x, z, 4)
            assert y.tobytes() == z.tobytes(), a.name
