"""Trees that no form of ours would write, as a file may hold them: a form that is lifted computes their very bits."""

from __future__ import annotations

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.forms import lift
from tersenet.storage import Affine, Floats, Integers, Permute, Reshape, Scatter, Storage, Table, decode


def integers(values: list[int], alphabet: int) -> Integers:
    return Integers(IntStream(name="x", values=np.array(values, np.int64), alphabet=alphabet))


NONE = Floats(np.zeros(0, np.float32))
HARD = np.array([0, -0.0, np.inf, -np.inf, 6e-8, 65504, -1.5, 0.1])
HALVES, SINGLES = Floats(HARD.astype(np.float16)), Floats(HARD.astype(np.float32))
TREES: dict[str, Storage] = {
    "float16 with infinities": HALVES,
    "float32 with infinities": SINGLES,
    "no floats": Reshape(NONE, (0, 3)),
    "a table of float16 infinities": Table(HALVES, integers([2, 3, 1, 0, 2], 8)),
    "a table that nobody asks": Table(HALVES, integers([], 1)),
    "codes whose first value is 0": Table(SINGLES, integers([0, 1, 2, 0, 7], 8)),
    "no levels": Affine(integers([], 1), integers([0], 1), Floats(np.array([0.125], np.float32))),
    "levels of two steps": Affine(
        integers([0, 3, 1, 2], 4), integers([1, 2], 3), Floats(np.array([0.1, 2], np.float32))
    ),
    "nothing placed": Scatter(NONE, integers([], 2), 4, False),
    "zeros placed": Scatter(SINGLES, integers([1] * 8, 3), 16, False),
    "placed twice and turned": Permute(
        Scatter(Reshape(Scatter(SINGLES, integers([0] * 8, 2), 9, False), (3, 3)), integers([1, 0, 1], 3), 5, False),
        (1, 0),
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_what_is_lifted_computes_and_stores_the_bits_of_its_tree(name):
    tree = TREES[name]
    form = lift(tree)
    assert form is not None
    want = decode(tree)
    assert form().detach().numpy().tobytes() == want.tobytes()
    assert decode(form.lower("huffman")).tobytes() == want.tobytes()
    assert float(form.rate_bits()) >= 0
