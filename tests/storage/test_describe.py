"""A tree's short name is the form that wrote it."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tersenet.forms import Codebook, Product, Residual, Sparse
from tersenet.storage import describe

FITS = {
    "codebook": partial(Codebook.fit, k=3, table="int8"),
    "product": partial(Product.fit, k=3, dim=4, axis="out"),
    "residual": partial(Residual.fit, k=3, dim=5),
    "sparse(residual)": partial(Sparse.fit, values=partial(Residual.fit, k=3, dim=4)),
    "sparse(product)": partial(Sparse.fit, values=partial(Product.fit, k=3, dim=4)),
}


@pytest.mark.parametrize("name", FITS)
def test_ledgers_name_the_form(name):
    weight = torch.randn(16, 18, generator=torch.Generator().manual_seed(0))
    weight = torch.where(weight > 1, weight, 0.0) if name.startswith("sparse") else weight
    assert describe(FITS[name](weight).lower("huffman")) == name
