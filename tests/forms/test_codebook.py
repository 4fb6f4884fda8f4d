"""The table of shared values takes the fewest bytes that keep its dtype."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Sparse, lift
from tersenet.storage import Affine, Floats, Reshape, Storage, Table, size_bytes

WEIGHT = torch.randn(100, 60, generator=torch.Generator().manual_seed(0))


def table_of(tree: Storage) -> Table:
    table = tree.source if isinstance(tree, Reshape) else tree
    assert isinstance(table, Table)
    return table


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("k", "planes"), [(4, False), (256, True)])
def test_a_large_table_is_stored_as_coded_byte_planes_and_a_small_one_as_bytes(k, planes, dtype):
    form = Codebook.fit(WEIGHT, k=k, table=dtype)
    table = table_of(form.lower("huffman"))
    assert (table.entries.planes, table.entries.values.dtype.name) == (planes, dtype)
    other = Table(Floats(table.entries.values, not planes), table.index)
    assert size_bytes(table, "huffman") < size_bytes(other, "huffman")


def test_a_code_for_every_place_has_its_table_in_planes_too():
    # One weight in a hundred is zero, so that codes are smaller than gaps and a table.
    weight = torch.where(torch.arange(6000).reshape(100, 60) % 100 == 0, 0.0, WEIGHT)
    tree = Sparse.fit(weight, values=partial(Codebook.fit, k=255, init="optimum")).lower("huffman")
    entries = table_of(tree).entries
    assert entries.values[0] == 0 and len(entries.values) == 256 and entries.planes


def test_a_float32_table_that_float16_could_hold_stays_float32_so_that_it_trains_as_before():
    form = Codebook.fit(torch.tensor([[0.5, -1.0], [2.0, 0.5]]), k=3)
    lifted = lift(form.lower("huffman"))
    assert isinstance(lifted, Codebook) and lifted.table == "float32"


@pytest.mark.parametrize(("per", "scales"), [("tensor", 1), ("row", 100)])
def test_values_of_int8_are_whole_numbers_times_a_scale_and_lie_on_it_after_training_too(per, scales):
    form = Codebook.fit(WEIGHT * torch.logspace(-2, 0, 100)[:, None], k=16, init="optimum", table="int8", per=per)
    with torch.no_grad():
        form.centroids.add_(0.004 * torch.arange(16))
    assert len(form.scale) == scales
    levels = form().detach().double() / form.scale.double().reshape(-1, 1)
    assert (levels - levels.round()).abs().max() < 1e-5
    assert levels.abs().max() <= 127 and len(levels.round().unique()) <= 16
    tree = form.lower("huffman")
    assert isinstance(tree.source, Affine) and isinstance(tree.source.levels, Table)
    lifted = lift(tree)
    assert torch.equal(lifted(), form()) and lifted.table == "int8"


def test_a_scale_for_each_row_is_nearer_where_rows_differ():
    weight = WEIGHT * torch.logspace(-2, 0, 100)[:, None]
    errors = []
    for per in ("tensor", "row"):
        form = Codebook.fit(weight, k=16, init="optimum", table="int8", per=per)
        errors.append(float(((form() - weight) / weight.norm(dim=1, keepdim=True)).detach().square().sum()))
    assert errors[1] < errors[0] / 2


def test_a_centroid_of_int8_gets_the_gradient_of_its_weights_times_their_rows_scale():
    weight = WEIGHT * torch.logspace(-1, 0, 100)[:, None]
    form = Codebook.fit(weight, k=8, init="optimum", table="int8", per="row")
    upstream = torch.randn(100, 60, generator=torch.Generator().manual_seed(1))
    form().backward(upstream)
    factor = (form.scale / form.scale[0])[:, None] * upstream
    want = torch.stack([factor[form.index == number].sum() for number in range(form.k)])
    assert torch.allclose(form.centroids.grad, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("table", ["float32", "int8"])
def test_weights_that_count_more_lie_nearer_to_their_values(table):
    importance = torch.ones(60)
    importance[:6] = 300
    errors = []
    for counted in (None, importance):
        form = Codebook.fit(WEIGHT, k=4, init="optimum", table=table, importance=counted)
        errors.append(float(((form() - WEIGHT).detach().square() * importance).sum()))
    assert errors[1] < 0.97 * errors[0]


def test_a_good_start_is_near_the_optimum_and_the_rate_is_that_of_the_paper():
    errors = {}
    for init in ("kmeans++", "optimum"):
        form = Codebook.fit(WEIGHT, k=16, init=init)
        errors[init] = float((form() - WEIGHT).detach().double().square().sum())
    assert errors["optimum"] <= errors["kmeans++"] * (1 + 1e-6) < errors["optimum"] * 1.1
    assert form.formula_bits() == 6000 * 4 + 16 * 32
    assert Codebook.fit(WEIGHT, k=16, table="int8").formula_bits() <= 6000 * 4 + 16 * 8 + 32


def test_a_scale_and_a_table_of_floats_exclude_each_other():
    with pytest.raises(TersenetError, match="int8 needs a scale"):
        Codebook(torch.zeros(2), torch.zeros(3), "int8")
    with pytest.raises(TersenetError, match="float32 has no scale"):
        Codebook(torch.zeros(2), torch.zeros(3), "float32", torch.ones(1))
    with pytest.raises(TersenetError, match="float32, float16, int8; got int4"):
        Codebook(torch.zeros(2), torch.zeros(3), "int4")
