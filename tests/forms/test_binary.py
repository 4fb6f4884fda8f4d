"""Signs and a scale: the nearest such weight, one bit each on disk."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Binary, Codebook, lift
from tersenet.forms.binary import short_scale
from tersenet.storage import size_bytes


def _weight(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("per", ["row", "tensor"])
def test_no_other_scale_or_sign_is_nearer(per):
    weight = _weight(6, 4, 3, 3)
    form = Binary.fit(weight, per=per)
    least = float((form() - weight).detach().square().sum())
    for factor in (0.99, 1.01):
        other = Binary(form.level, form.step.detach() * factor)
        assert float((other() - weight).detach().square().sum()) > least
    flipped = form.level.clone()
    flipped[0, 0, 0, 0] *= -1
    assert float((Binary(flipped, form.step)() - weight).detach().square().sum()) > least
    assert len(form.step) == (6 if per == "row" else 1)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
def test_the_raw_coder_takes_a_bit_a_weight(n):
    size = size_bytes(Binary.fit(_weight(2, n)).lower("raw"), "raw")
    scales = 2 * 2
    assert 0 < size - (2 * n + 7) // 8 - scales < 28


def test_zero_is_positive_and_a_row_of_zeros_stays_zero():
    weight = torch.tensor([[0.0, 2.0, -2.0], [0.0, 0.0, 0.0]])
    form = Binary.fit(weight)
    assert form.level.tolist() == [[1, 1, -1], [1, 1, 1]]
    assert not form()[1].detach().any()


def test_the_nearest_values_are_the_scales_of_their_rows():
    form = Binary.fit(_weight(3, 5))
    values = torch.tensor([[-1.0, 0.0], [1e-9, -1e-9], [5.0, -5.0]], dtype=torch.float64)
    scale = form.step.detach().double()
    wanted = torch.stack([torch.stack([-scale[0], scale[0]]), *[torch.stack([a, -a]) for a in scale[1:]]])
    assert torch.equal(form.nearest(values, torch.tensor([4, 0])), wanted)
    other = _weight(3, 5).neg()
    assert torch.equal(form.snapped(other)().double(), form.nearest(other.double(), torch.arange(5)))


def test_scales_are_short_where_that_loses_only_rounding():
    assert torch.equal(short_scale(torch.tensor([0.1, 0.0])).half().float(), short_scale(torch.tensor([0.1, 0.0])))
    assert short_scale(torch.tensor([1e-7, 1.0]))[0] == torch.tensor(1e-7)


def test_what_is_not_binary_is_not_lifted_as_such():
    assert Binary.lift(Codebook.fit(_weight(4, 4), k=2).lower("raw")) is None
    assert isinstance(lift(Binary.fit(_weight(4)).lower("raw")), Binary)


def test_a_scale_per_anything_else_is_refused():
    with pytest.raises(TersenetError, match="a scale per column"):
        Binary.fit(_weight(2, 2), per="column")
