"""Signs and zeros: the exact optimum against all choices, and the paper's threshold."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Ternary, Uniform, lift


def _weight(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_least_squares_is_the_best_of_all_choices_of_levels():
    for seed in range(4):
        row = torch.randn(1, 6, generator=torch.Generator().manual_seed(seed))
        best = min(
            float((row - scale * level).square().sum())
            for level in (torch.tensor([choice], dtype=torch.float32) for choice in product((-1, 0, 1), repeat=6))
            if level.any()
            for scale in [(row * level).sum() / level.square().sum()]
        )
        found = float((Ternary.fit(row)() - row).detach().square().sum())
        assert found == pytest.approx(best, abs=1e-4)  # the scale is rounded to float16


def test_the_mean_threshold_is_that_of_the_paper():
    weight = _weight(5, 40)
    form = Ternary.fit(weight, threshold="mean")
    kept = weight.abs() > 0.7 * weight.abs().mean(1, keepdim=True)
    assert torch.equal(form.level != 0, kept)
    scale = (weight.abs() * kept).sum(1) / kept.sum(1)
    assert torch.allclose(form.step.detach(), scale, rtol=1e-3)


def test_least_squares_is_never_further_than_the_threshold():
    weight = _weight(8, 3, 3, 3) ** 3
    errors = [
        float((Ternary.fit(weight, threshold=threshold)() - weight).detach().square().sum())
        for threshold in ("least_squares", "mean")
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("weight", [torch.zeros(2, 3), torch.full((2, 3), 0.1), torch.tensor([[0.0, 0.1, 0.1]])])
@pytest.mark.parametrize("threshold", ["least_squares", "mean"])
def test_rows_that_are_ternary_already_come_through(weight, threshold):
    assert torch.allclose(Ternary.fit(weight, threshold=threshold)().detach(), weight, rtol=1e-3)


def test_the_nearest_values_stay_within_the_three():
    form = Ternary.fit(_weight(3, 4))
    values = torch.tensor([[-100.0], [0.0], [100.0]], dtype=torch.float64)
    scale = form.step.detach().double()
    assert torch.equal(
        form.nearest(values, torch.tensor([2])).flatten(), torch.stack([-scale[0], 0 * scale[1], scale[2]])
    )
    other = 3 * _weight(3, 4)
    assert torch.equal(form.snapped(other)().detach().double(), form.nearest(other.double(), torch.arange(4)))


def test_a_ternary_weight_is_known_when_it_is_read_though_a_level_is_missing():
    assert isinstance(lift(Ternary.fit(torch.ones(3, 4)).lower("raw")), Ternary)
    assert type(lift(Uniform.fit(_weight(4, 4), bits=3).lower("raw"))) is Uniform


def test_choices_that_there_are_not_are_refused():
    with pytest.raises(TersenetError, match="a scale per column"):
        Ternary.fit(_weight(2, 2), per="column")
    with pytest.raises(TersenetError, match="a threshold by guess"):
        Ternary.fit(_weight(2, 2), threshold="guess")
