"""Laws of the kernels on weights of one bit: exact sums of signs, zeros and NaN among them, in every column."""

from __future__ import annotations

import numpy as np
import pytest
import tersenet._core as _core

F32 = np.float32
# Around blocks of 16 rows, words of 32 and 64 columns, 31 words before a byte is full, four blocks at a time.
SHAPES = [
    (1, 1),
    (15, 31),
    (16, 32),
    (17, 33),
    (64, 63),
    (65, 64),
    (80, 65),
    (3, 31 * 64),
    (20, 32 * 64 + 7),
    (131, 900),
]
BATCHES = (0, 1, 2, 4, 5, 9)
SORTS = ("grid signs", "dense opposite")


def kernels(weight, threads: int = 1, signs: bool = True) -> dict:
    found = _core.linear_kernels(*weight.dense.shape, *weight.arrays(), threads, signs=signs, **weight.grid())
    return {kernel.name.split("/")[0]: kernel for kernel in found}


def answer(kernel, x: np.ndarray, rows: int, *more) -> np.ndarray:
    y = np.full((len(x), rows), np.nan, F32)
    kernel.run(x, y, len(x), *more)
    return y


def twin(weight, x: np.ndarray) -> np.ndarray:
    """The a of each row times an exact sum of signs; of NaN the sign is 0."""
    scale = np.abs(weight.dense[:, 0])
    signs = np.where(np.isnan(x), 0, np.sign(np.nan_to_num(x)))
    return (signs.astype(np.float64) @ np.sign(weight.dense).astype(np.float64).T).astype(F32) * scale


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_signs_give_the_bits_of_the_twin(sort, shape, column, make_weight):
    weight = make_weight(sort, *shape, 1.0)
    found = kernels(weight)
    rng = np.random.default_rng(1)
    for batch in BATCHES:
        whole = np.where(rng.random((batch, shape[1])) < 0.5, -1, 1).astype(F32)
        holed = whole * (rng.random(whole.shape) < 0.8)
        some = whole.copy()
        some[::3, ::2] = 0  # a vector with zeros beside others without
        for x in (whole, holed.astype(F32), some, np.zeros_like(whole)):
            y = answer(found["xnor"], x, shape[0])
            assert y.tobytes() == (twin(weight, x) + F32(0)).tobytes()
            truth = x.astype(np.float64) @ weight.dense.T
            assert np.abs(answer(found["binary"], x, shape[0]) - truth).max(initial=0) <= 1e-5 * max(
                np.abs(truth).max(initial=0), 1e-3
            )


@pytest.mark.parametrize("sort", SORTS)
def test_of_other_inputs_the_signs_are_taken(sort, column, make_weight):
    weight = make_weight(sort, 33, 130, 1.0)
    x = np.random.default_rng(2).standard_normal((5, 130)).astype(F32)
    x[0, ::5], x[1, 3], x[2, 7], x[3, 9], x[4, 1] = np.nan, np.inf, -np.inf, 1e-42, -0.0
    assert answer(kernels(weight)["xnor"], x, 33).tobytes() == (twin(weight, x) + F32(0)).tobytes()


@pytest.mark.parametrize("batch", [1, 70])
def test_two_threads_and_an_epilogue_give_what_one_gives(batch, column, make_weight):
    weight = make_weight("grid signs", 900, 700, 1.0)
    rng = np.random.default_rng(3)
    x = np.sign(rng.standard_normal((batch, 700))).astype(F32)
    scale, shift = rng.standard_normal(900).astype(F32), rng.standard_normal(900).astype(F32)
    residual = rng.standard_normal((batch, 900)).astype(F32)
    truth = np.clip(twin(weight, x) * scale + shift + residual, -0.5, 1.0)
    one, two = kernels(weight), kernels(weight, threads=2)
    for name in ("xnor", "binary"):
        y = answer(one[name], x, 900, scale, shift, residual, "clamp", -0.5, 1.0)
        assert np.abs(y - truth).max() <= 1e-4
        for _ in range(3):
            assert answer(two[name], x, 900, scale, shift, residual, "clamp", -0.5, 1.0).tobytes() == y.tobytes()


def test_they_are_there_for_two_opposite_values_only(make_weight):
    weight = make_weight("grid signs", 6, 40, 1.0)
    assert {"xnor", "binary"} <= set(kernels(weight)) and kernels(weight)["xnor"].bytes < 16 * 6 * 40 / 8 + 16 * 32
    assert "xnor" not in kernels(weight, signs=False)
    for change in ("codebook", "zero"):
        other = make_weight("grid signs", 6, 40, 1.0)
        getattr(other, change)[0] += 0.5 if change == "codebook" else 1
        assert not {"xnor", "binary"} & set(kernels(other)), change
    for sort in ("grid ternary", "grid nibbles by group", "dense free", "dense few", "sparse shared"):
        assert not {"xnor", "binary"} & set(kernels(make_weight(sort, 6, 40, 0.5))), sort
