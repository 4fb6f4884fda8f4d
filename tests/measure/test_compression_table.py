"""The paper's columns are what its definitions give, and end in the bytes on disk."""

import json

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.container import Model, decode, encode
from tersenet.measure.compression_table import compression_table
from tersenet.storage import Affine, Floats, Integers, Reshape, Scatter, Sum, Table


def table_of(model, coder="huffman"):
    contents = decode(encode(model, coder))
    table = compression_table(contents)
    return contents, table, {row.name: row for row in table.rows}


def test_a_pruned_and_shared_weight_has_the_papers_columns(model):
    contents, _, rows = table_of(model)
    row = rows["fc1.weight"]
    sizes = {entry.role: entry.size_bytes for entry in contents.ledger if entry.name == "fc1.weight"}
    assert (row.weights, row.stored, row.index_symbols, row.k) == (256, 64, 64, 16)
    assert row.kept == row.nonzeros / 256 == 0.25
    assert (row.weight_bits, row.index_bits, row.table_bits) == (4, 5, 16 * 32)
    assert row.weight_bits_coded == sizes["index"] * 8 / 64
    assert row.index_bits_coded == sizes["gaps"] * 8 / 64
    assert row.rate_pruned == pytest.approx(256 * 32 / (64 * (32 + 5)))
    assert row.rate_shared == pytest.approx(256 * 32 / (64 * (4 + 5) + 16 * 32))
    assert row.rate_coded == 256 * 4 / sum(sizes.values())
    assert row.formula_rate == pytest.approx(64 * 32 / (64 * 4 + 16 * 32))
    assert row.formula_rate_real == pytest.approx(64 * 4 / (sizes["index"] + sizes["table"]))


def test_the_example_of_the_paper_comes_back():
    """16 weights of 32 bits and 4 centroids: 512 to 160 bits (Han et al. 2016, section 3)."""
    index = Integers(IntStream(name="x", values=np.arange(16) % 4, alphabet=4))
    tree = Reshape(Table(Floats(np.arange(1, 5, dtype=np.float32)), index), (4, 4))
    row = _alone(tree)
    assert (row.original_bits, row.shared_bits, row.formula_bits) == (512, 160, 160)
    assert row.formula_rate == 3.2 == row.rate_shared


def test_a_weight_that_is_a_sum_of_table_entries_is_stored_once():
    """32 sub-vectors of 2, each a sum of one of 4 and one of 2."""

    def picked(k: int) -> Table:
        codes = Integers(IntStream(name="x", values=np.arange(32) % k, alphabet=k))
        return Table(Reshape(Floats(np.arange(2 * k, dtype=np.float32)), (k, 2)), codes)

    row = _alone(Reshape(Sum((picked(4), picked(2))), (8, 8)))
    assert (row.stored, row.k, row.rate_pruned) == (64, 6, 1)
    assert row.weight_bits == (32 * 2 + 32 * 1) / 64
    assert row.formula_bits == 32 * (2 + 1) + 32 * 2 * (4 + 2)


def test_a_tensor_without_a_byte_of_its_own_has_a_row(model):
    """All its values are one, and the structure around it is packed with all others."""
    zeros, zero = (Integers(IntStream(name="x", values=np.zeros(n, np.int64), alphabet=1)) for n in (4, 1))
    bias = Affine(zeros, zero, Floats(np.ones(1, np.float16)))
    contents, _, rows = table_of(Model(graph=model.graph, tensors=model.tensors | {"fc3.bias": bias}), "range")
    assert not [entry for entry in contents.ledger if entry.name == "fc3.bias"]
    assert (rows["fc3.bias"].size_bytes, rows["fc3.bias"].nonzeros) == (0, 0)


def test_an_eight_bit_weight_and_a_dense_one_have_no_index(model):
    _, _, rows = table_of(model, "raw")
    eight, dense = rows["fc2.weight"], rows["fc3.weight"]
    assert (eight.weight_bits, eight.index_bits, eight.k, eight.table_bits) == (8, 0, 0, 8 + 32)
    assert eight.rate_pruned == 1 and eight.rate_shared == 64 * 32 / (64 * 8 + 40)
    assert (dense.weight_bits, dense.rate_pruned, dense.rate_shared, dense.formula_rate) == (32, 1, 1, 1)
    assert 0.8 < dense.rate_coded < 1, "its headers are on disk too"


def test_fillers_cost_an_index_but_no_weight():
    """Gaps of at most 3: to place 200 of 256 it takes fillers, each worth three places."""
    gaps = Integers(IntStream(name="x", values=np.array([3] * 66 + [2]), alphabet=4))
    row = _alone(Scatter(Floats(np.ones(1, np.float32)), gaps, 256, False))
    assert (row.stored, row.index_symbols, row.index_bits) == (1, 67, 2)
    assert row.pruned_bits == 32 + 67 * 2


def test_a_bitmask_costs_a_bit_for_each_place():
    bits = (np.arange(64) % 4 == 0).astype(np.uint8)
    mask = Integers(IntStream(name="x", values=bits, alphabet=2))
    row = _alone(Scatter(Floats(np.ones(16, np.float32)), mask, 64, True))
    assert (row.index_bits, row.kept, row.pruned_bits) == (4, 0.25, 16 * 32 + 64)


def test_totals_add_up_to_all_tensor_bytes_of_the_file(model):
    contents, table, _ = table_of(model)
    tensors = sum(entry.size_bytes for entry in contents.ledger if entry.name in model.tensors)
    assert table.total.size_bytes == tensors == sum(row.size_bytes for row in table.rows)
    assert table.total.weights == 256 + 64 + 32 + 4
    assert table.total.index_bits == 5, "layers without positions do not thin out the mean"
    assert table.rate_file == 356 * 4 / contents.file_bytes < table.total.rate_coded


def test_a_table_becomes_json_with_its_rates(model):
    _, table, rows = table_of(model)
    got = json.loads(json.dumps(table.to_dict()))
    assert got["rate_file"] == table.rate_file and got["total"]["size_bytes"] == table.total.size_bytes
    assert got["rows"][0]["kept"] == 0.25 and got["rows"][0]["rate_coded"] == rows["fc1.weight"].rate_coded


def _alone(tree):
    from tersenet.ir import Graph, Input, Parameter, Value, make_node

    graph = Graph(
        inputs=(Input("x", "float32", tree.shape),),
        nodes=(make_node("add", self=Value(0), other=Parameter("w")),),
        outputs=(Value(1),),
        output_names=("y",),
        parameters={"w": "float32"},
    )
    (row,) = compression_table(decode(encode(Model(graph=graph, tensors={"w": tree})))).rows
    return row
