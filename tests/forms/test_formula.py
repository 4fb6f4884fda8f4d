"""The field's formulas, counted by hand, beside the bytes of real trees."""

from __future__ import annotations

from functools import partial
from math import log2

import pytest
import torch

from tersenet.forms import Binary, Codebook, Dense, FixedPoint, Latent, Masked, Sparse, Ternary, Uniform
from tersenet.storage import describe, size_bytes

ROWS, COLUMNS = 32, 64
N = ROWS * COLUMNS


def _weight() -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("fit", "bits"),
    [
        (Dense.fit, 32 * N),
        (partial(Dense.fit, dtype="float16"), 16 * N),
        (partial(Codebook.fit, k=6), N * log2(6) + 6 * 32),
        (partial(Uniform.fit, bits=5, per="row"), 5 * N + 32 * ROWS),
        (partial(Uniform.fit, bits=4, per=16, symmetric=False), 4 * N + 32 * ROWS * 4),
        (Binary.fit, N + 32 * ROWS),
        (partial(Ternary.fit, per="tensor"), 2 * N + 32),
        (partial(FixedPoint.fit, bits=6), 6 * N + 8),
        (partial(Latent.fit, fit=Binary.fit), N + 32 * ROWS),
    ],
)
def test_a_formula_counts_codes_and_tables_and_the_raw_file_is_near_it(fit, bits):
    form = fit(_weight())
    assert form.formula_bits() == pytest.approx(bits)
    # Codes of whole bits are wider than log2 k; scales as float16 are narrower than b.
    on_disk = 8 * size_bytes(form.lower("raw"), "raw")
    assert abs(on_disk - bits) < 0.17 * bits + 300


def test_a_sparse_weight_adds_a_relative_index_for_each_value_and_each_filler():
    weight = torch.zeros(4, 100)
    weight[0, 3] = weight[0, 40] = weight[3, 99] = 1.0
    fillers = (40 - 3 - 1) // 32 + (399 - 40 - 1) // 32
    for fit in (Sparse.fit, Masked.fit):
        assert fit(weight).formula_bits() == 3 * 32 + 5 * (3 + fillers)
    kernel = weight.reshape(4, 1, 10, 10)
    assert Sparse.fit(kernel).formula_bits() == 3 * 32 + 8 * (3 + (399 - 40 - 1) // 256)


@pytest.mark.parametrize(
    ("fit", "name"),
    [
        (Binary.fit, "binary"),
        (Ternary.fit, "ternary"),
        (partial(FixedPoint.fit, bits=2), "fixed_point"),
        (partial(FixedPoint.fit, bits=8), "fixed_point"),
        (partial(Uniform.fit, bits=4), "uniform"),
        (partial(Uniform.fit, bits=8, per="row", symmetric=False), "uniform"),
        (partial(Sparse.fit, values=Binary.fit), "sparse(binary)"),
    ],
)
def test_ledgers_name_the_form(fit, name):
    for weight in (_weight(), torch.ones(2, 3), -_weight().abs()):
        if weight.shape[0] == ROWS or name != "uniform":
            assert describe(fit(weight).lower("raw")) == name
