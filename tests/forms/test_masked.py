"""A mask decides which weights count; whether the others learn meanwhile is the form's choice."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Masked

WEIGHT = torch.tensor([[1.0, -2.0, 0.0], [3.0, -4.0, 5.0]])


def test_a_fresh_mask_leaves_out_what_is_zero_and_another_takes_its_place_in_the_same_tensor():
    form = Masked.fit(WEIGHT)
    held = form.mask
    assert torch.equal(form(), WEIGHT)
    form.remask(WEIGHT > 0, 0.25)
    assert held is form.mask and float(form.made_at) == 0.25
    assert form().tolist() == [[1, 0, 0], [3, 0, 5]]
    assert not bool(form()[0, 1].signbit()), "a negative zero would not be stored as sparse"


@pytest.mark.parametrize("regrows", [False, True])
def test_cut_weights_learn_only_where_they_may_come_back(regrows):
    form = Masked.fit(WEIGHT, mask=WEIGHT > 0, regrows=regrows)
    form().sum().backward()
    expected = torch.ones_like(WEIGHT) if regrows else (WEIGHT > 0).float()
    assert torch.equal(form.values.grad, expected)
    with torch.no_grad():
        form.values -= form.values.grad
    form.remask(torch.ones_like(WEIGHT, dtype=torch.bool), 1.0)
    assert torch.equal(form().detach(), WEIGHT - expected)


def test_mask_and_time_are_in_the_state_so_that_a_checkpoint_has_them():
    form = Masked.fit(WEIGHT, mask=WEIGHT > 1)
    form.remask(WEIGHT > 4, 0.5)
    again = Masked.fit(torch.ones(2, 3))
    again.load_state_dict(form.state_dict())
    assert torch.equal(again(), form()) and float(again.made_at) == 0.5


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(TersenetError, match=r"a mask of shape \(3,\) for a weight of \(2, 3\)"):
        Masked.fit(WEIGHT, mask=torch.ones(3, dtype=torch.bool))
