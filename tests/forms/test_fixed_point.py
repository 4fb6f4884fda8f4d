"""Fixed point: the least exponent that reaches, exact powers of two, and what lies beyond the range."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import FixedPoint, Uniform, lift
from tersenet.forms.fixed_point import exponent_for
from tersenet.storage import size_bytes


def _weight(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_the_exponent_is_the_least_that_reaches_the_largest_weight(bits):
    weight = _weight(7, 9)
    form = FixedPoint.fit(weight, bits=bits)
    step = 2.0**form.exponent
    assert torch.equal(form().detach() / step, (form().detach() / step).round())
    assert float((form().detach() - weight).abs().max()) <= step / 2
    less = FixedPoint.fit(weight, bits=bits, exponent=form.exponent - 1)
    assert float((less().detach() - weight).abs().max()) > step / 4


def test_numbers_beyond_the_range_become_its_ends():
    form = FixedPoint.fit(torch.tensor([[100.0, -100.0, 0.3, 0.0]]), bits=4, exponent=-2)
    assert form().tolist() == [[1.75, -2.0, 0.25, 0.0]]
    values = torch.tensor([[9.0, -9.0]], dtype=torch.float64)
    assert form.nearest(values, torch.tensor([0, 3])).tolist() == [[1.75, -2.0]]
    assert form.snapped(torch.tensor([[0.3, 0.6, -3.0, 3.0]]))().tolist() == [[0.25, 0.5, -2.0, 1.75]]


def test_a_share_that_may_overflow_gives_the_rest_a_finer_step():
    weight = torch.cat([torch.ones(999) * 0.1, torch.tensor([100.0])])
    assert exponent_for(weight, 8) > exponent_for(weight, 8, 0.001) == exponent_for(weight[:999], 8)
    assert exponent_for(torch.zeros(3), 8) == 0
    assert exponent_for(torch.tensor([127.4]), 8) == 0 < exponent_for(torch.tensor([127.6]), 8)


def test_it_comes_back_as_fixed_point_with_its_bits_and_takes_them_on_disk():
    for bits in (2, 5, 8):
        form = FixedPoint.fit(_weight(40, 50) / 100, bits=bits)
        tree = form.lower("raw")
        again = lift(tree)
        assert isinstance(again, FixedPoint) and (again.bits, again.exponent) == (bits, form.exponent)
        assert 0 <= size_bytes(tree, "raw") - 40 * 50 * bits // 8 < 32
    assert type(lift(Uniform.fit(_weight(4, 4), bits=4).lower("raw"))) is Uniform


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bits": 1}, "2 to 16 can be"),
        ({"bits": 17}, "2 to 16 can be"),
        ({"exponent": 200}, "-126 to 110 can be"),
    ],
)
def test_what_cannot_be_is_refused(options, sentence):
    with pytest.raises(TersenetError, match=sentence):
        FixedPoint.fit(_weight(2, 2), **options)
