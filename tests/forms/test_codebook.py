"""The table of shared values takes the fewest bytes that keep its dtype."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tersenet.forms import Codebook, Sparse, lift
from tersenet.storage import Floats, Reshape, Storage, Table, size_bytes

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
