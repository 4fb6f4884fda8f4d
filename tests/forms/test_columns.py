"""A step a column: what one step cannot hold, and steps that are stored as small multiples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tersenet import storage
from tersenet.forms import Columns, Uniform
from tersenet.forms._grid import smallest_steps
from tersenet.storage import Affine, Floats, decode


def test_columns_of_different_size_are_nearer_with_a_step_each():
    weight = torch.randn(30, 20, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 2, 20)
    small = weight[:, :5]
    one, each = (form().detach()[:, :5] for form in (Uniform.fit(weight, bits=4), Columns.fit(weight, bits=4)))
    assert float((each - small).square().sum()) < 0.02 * float((one - small).square().sum())


def test_each_column_is_its_own_levels_times_its_own_step():
    levels = torch.tensor([[1, -2, 3], [0, 5, -1]])
    form = Columns(Uniform(levels.T.contiguous(), torch.tensor([1.0, 0.5, 0.25])))
    assert form.shape == (2, 3)
    torch.testing.assert_close(form().detach(), levels * torch.tensor([1.0, 0.5, 0.25]))


@pytest.mark.parametrize("coder", ["raw", "range"])
@pytest.mark.parametrize(
    ("steps", "node"),
    [
        (np.float32(np.float16(0.0123)) * np.float32([8, 11, 16, 4] * 50), Affine),
        (np.random.default_rng(0).random(200, np.float32), Floats),
        (np.float32([1e-30, 1e30] * 20), Floats),
        (np.float32([0.37]), Floats),
    ],
    ids=["multiples", "any", "far apart", "one"],
)
def test_steps_come_back_to_the_bit_and_multiples_of_one_number_are_stored_so(steps, node, coder):
    tree = smallest_steps(steps, coder)
    assert isinstance(tree, node)
    assert decode(tree).tobytes() == steps.tobytes()
    if node is Affine:
        assert storage.size_bytes(tree, coder) < 0.7 * storage.size_bytes(Floats(steps), coder)
