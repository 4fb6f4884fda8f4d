"""Product quantization: where sub-vectors lie, what a layer's inputs make of them, its rate, and what snapping does."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Product, Residual, Sparse, lift
from tersenet.storage import Concat, Reshape, Table, size_bytes, walk
from tersenet.storage.memory import working_bytes

WEIGHT = torch.randn(48, 60, generator=torch.Generator().manual_seed(0))


def error(form, weight=WEIGHT, by=1.0) -> float:
    return float(((form() - weight).detach().double().square() * by).sum())


def test_each_row_of_sub_vectors_holds_entries_of_the_codebook():
    form = Product.fit(WEIGHT, k=8, dim=4)
    entries = {tuple(row) for row in form.pieces[0].tables[0].tolist()}
    assert {tuple(row) for row in form().detach().reshape(-1, 4).tolist()} == entries
    assert len(entries) == 8


def test_sub_vectors_along_out_are_those_of_the_transposed_weight():
    down = Product.fit(WEIGHT, k=8, dim=4, axis="out")
    across = Product.fit(WEIGHT.T.contiguous(), k=8, dim=4)
    assert torch.equal(down().T, across())


def test_nine_neighbours_of_a_kernel_are_one_channel():
    kernels = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    form = Product.fit(kernels, k=3, dim=9)
    assert len(form().detach().reshape(30, 9).unique(dim=0)) == 3


def test_a_codebook_for_each_place_is_nearer_and_larger():
    shared, own = (Product.fit(WEIGHT, k=8, dim=6, shared=one) for one in (True, False))
    assert len(own.pieces) == 10
    assert error(own) < error(shared)
    assert own.formula_bits() > shared.formula_bits()


@pytest.mark.parametrize(("shared", "codebooks"), [(True, 1), (False, 15)])
def test_the_rate_is_that_of_the_paper(shared, codebooks):
    # k n b + s m log2 k with one codebook a place, of k x (n / s) numbers each.
    form = Product.fit(WEIGHT, k=16, dim=4, shared=shared)
    assert form.formula_bits() == codebooks * 16 * 4 * 32 + 48 * 15 * 4


def test_a_rest_of_shorter_sub_vectors_has_a_codebook_of_its_own_and_is_said():
    form = Product.fit(WEIGHT, k=8, dim=7)
    assert [part.cut for part in form.pieces] == [(0, 8, 7), (56, 1, 4)]
    assert form.remarks(8, 7) == ["7 does not divide the 60 weights of a row; the last 4 have a codebook of their own"]
    assert any(isinstance(node, Concat) for node in walk(form.lower("huffman")))


def test_constant_weights_have_one_entry_which_is_said():
    form = Product.fit(torch.full((6, 8), 0.5), k=16, dim=4)
    assert torch.equal(form(), torch.full((6, 8), 0.5))
    assert form.remarks(16, 4) == ["1 different sub-vectors are left, so the codebook has 1 entries, not 16"]


def test_columns_that_the_layer_meets_strongly_are_kept_best():
    importance = torch.ones(60)
    importance[::4] = 100
    plain, weighed = (Product.fit(WEIGHT, k=16, dim=4, importance=one) for one in (None, importance))
    assert error(weighed, by=importance) < 0.7 * error(plain, by=importance)
    assert error(weighed) > error(plain)


def test_a_column_that_no_input_reaches_and_a_rest_that_none_reaches_are_no_trouble():
    importance = torch.ones(60)
    importance[56:] = 0
    assert torch.isfinite(Product.fit(WEIGHT, k=4, dim=7, importance=importance)()).all()


@pytest.mark.parametrize("axis", ["in", "out"])
@pytest.mark.parametrize("dim", [4, 7])
@pytest.mark.parametrize("shared", [True, False])
def test_the_nearest_of_columns_is_that_of_the_whole_weight_which_snaps_to_it(axis, dim, shared):
    form = Product.fit(WEIGHT, k=8, dim=dim, axis=axis, shared=shared)
    moved = WEIGHT + 0.3 * torch.randn(48, 60, generator=torch.Generator().manual_seed(2))
    snapped = form.snapped(moved)
    assert error(snapped, moved) < error(form, moved)
    for one, other in zip(snapped.parameters(), form.parameters()):
        assert torch.equal(one, other)
    together = form.columns_together
    assert together == (dim if axis == "in" else 1)
    for start in range(0, 60, 2 * together):
        columns = torch.arange(start, min(start + 2 * together, 60))
        near = form.nearest(moved[:, columns].double(), columns)
        assert near.dtype == torch.float64
        assert torch.equal(near.float(), snapped().detach()[:, columns])
    if axis == "in":
        with pytest.raises(TersenetError, match="column 1 begins no sub-vector"):
            form.nearest(moved[:, 1:5].double(), torch.arange(1, 5))


def test_kept_weights_of_a_sparse_one_form_sub_vectors_and_come_back():
    weight = torch.where(torch.rand(48, 60, generator=torch.Generator().manual_seed(3)) > 0.2, 0.0, WEIGHT)
    form = Sparse.fit(weight, values=lambda kept: Product.fit(kept, k=16, dim=2))
    lifted = lift(form.lower("huffman"))
    assert isinstance(lifted, Sparse) and isinstance(lifted.values, Product)
    assert torch.equal(lifted(), form())
    assert torch.equal(form() == 0, weight == 0)


def test_entries_that_nothing_takes_are_not_stored_and_bytes_come_near_the_rate():
    form = Product.fit(torch.randn(256, 256), k=64, dim=4, table="float16")
    tree = form.lower("raw")
    assert size_bytes(tree, "raw") < form.formula_bits() / 8 + 40
    narrowed = form.snapped(torch.zeros(256, 256))
    (table,) = (node for node in walk(narrowed.lower("raw")) if isinstance(node, Table))
    assert isinstance(table.entries, Reshape) and table.entries.shape == (1, 4)


@pytest.mark.parametrize("axis", ["in", "out"])
@pytest.mark.parametrize("form", [Product, Residual])
def test_decoding_holds_a_few_copies_of_the_weight_at_most(form, axis):
    tree = form.fit(torch.randn(128, 128), k=16, dim=8, axis=axis).lower("raw")
    assert working_bytes(tree) < 3.2 * 4 * 128 * 128


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dim": 0}, "sub-vectors of 0 weights"),
        ({"axis": "across"}, "axis across is unknown"),
        ({"k": 0}, "k is 0"),
        ({"table": "int8"}, "float32 or float16; got int8"),
        ({"importance": torch.ones(7)}, "one number a weight, or one for each of its 60 columns"),
        ({"importance": torch.full((60,), float("nan"))}, "negative, NaN or infinite"),
    ],
)
def test_each_refusal_is_a_sentence(options, says):
    with pytest.raises(TersenetError, match=says):
        Product.fit(WEIGHT, **{"k": 4, "dim": 4} | options)
    with pytest.raises(TersenetError, match="above float16's range"):
        Product.fit(WEIGHT * 1e5, k=4, table="float16")
    with pytest.raises(TersenetError, match=r"a weight of shape \(3, 3\)"):
        Product.fit(WEIGHT, k=2).snapped(torch.zeros(3, 3))
