"""Rate-trained weights: the estimate is near what the coder writes, its gradient leads to fewer bits, and levels settle."""

from __future__ import annotations

import pytest
import torch

from tersenet.bits import IntStream
from tersenet.coding import get_coder
from tersenet.forms import Latent, RateStep, Uniform
from tersenet.forms._rate import MOST, code_length


def _levels(rows: int, columns: int, fullness: float, *, uneven: bool = True, seed: int = 0) -> torch.Tensor:
    """Integers, most of them 0; rows and columns differ in how many are not."""
    generator = torch.Generator().manual_seed(seed)
    odds = torch.full((rows, columns), fullness / (1 - fullness))
    if uneven:
        odds = odds * (2 * torch.randn(rows, 1, generator=generator)).exp()
        odds = odds * (2 * torch.randn(1, columns, generator=generator)).exp()
    used = torch.rand(rows, columns, generator=generator) < odds / (1 + odds)
    size = 1 + torch.empty(rows, columns).geometric_(0.6, generator=generator) - 1
    sign = torch.randint(0, 2, (rows, columns), generator=generator) * 2 - 1
    return used * size * sign


def _coded_bits(levels: torch.Tensor) -> int:
    values = levels.reshape(-1).long().numpy()
    low = values.min()
    return 8 * len(
        get_coder("range").encode(IntStream(name="x", values=values - low, alphabet=int(values.max() - low) + 1))
    )


@pytest.mark.parametrize("uneven", [True, False])
@pytest.mark.parametrize("fullness", [0.005, 0.05, 0.3])
@pytest.mark.parametrize("shape", [(300, 784), (50, 500)])
def test_the_estimate_is_near_what_the_range_coder_writes(shape, fullness, uneven):
    levels = _levels(*shape, fullness, uneven=uneven)
    assert float(code_length(levels)) == pytest.approx(_coded_bits(levels), rel=0.2, abs=8 * 60)


def test_rows_and_columns_that_hold_nothing_are_nearly_free():
    levels = torch.zeros(200, 300)
    levels[:10, :20] = _levels(10, 20, 0.5, uneven=False)
    mixed = levels.reshape(-1)[torch.randperm(levels.numel(), generator=torch.Generator().manual_seed(1))]
    assert float(code_length(levels)) < 0.5 * float(code_length(mixed.reshape(200, 300)))


def test_the_gradient_draws_towards_zero_and_hardest_where_rows_and_columns_are_empty():
    place = _levels(40, 60, 0.05) + 0.0
    place[0], place[1, ::2] = 0.0, 1.0
    place[0, 7], place[1, 7], place[2, 7] = 0.6, 0.6, -0.6
    place.requires_grad_()
    code_length(place).backward()
    slope = place.grad
    assert slope[0, 7] > slope[1, 7] > 0 > slope[2, 7]
    assert torch.equal(slope.sign()[place.abs() > 1], place.detach().sign()[place.abs() > 1])


def test_the_gradient_of_a_place_is_what_the_next_level_would_save():
    place = _levels(200, 300, 0.05) + 0.0
    place[3, 5] = 0.9
    latent = place.clone().requires_grad_()
    code_length(latent).backward()
    without = place.clone()
    without[3, 5] = 0
    # Two estimates, whose rows and columns are filled differently by this one level.
    assert float(latent.grad[3, 5]) == pytest.approx(float(code_length(place) - code_length(without)), rel=0.25)


def test_following_the_rate_alone_leaves_nothing():
    values = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    form = Latent(values, RateStep(Uniform.on_grid(values, torch.tensor([0.5]))))
    before = float(form.rate_bits().detach())
    optimiser = torch.optim.Adam([form.values], lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        form.rate_bits().backward()
        optimiser.step()
    assert before > 500
    assert not form.settled().level.any() and float(form.rate_bits().detach()) < 20


def test_a_step_that_grows_scales_the_weights_and_leaves_levels_and_price_alone():
    values = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    form = Latent(values, RateStep(Uniform.on_grid(values, torch.tensor([0.25]))))
    level, bits = form.settled().level, form.rate_bits()
    bits.backward()
    assert form.quantiser.factor.grad is None
    form().sum().backward()
    assert form.quantiser.factor.grad.abs() > 0
    with torch.no_grad():
        form.quantiser.factor.mul_(2)
    assert torch.equal(form.settled().level, level) and float(form.settled().step.detach()) == 0.5
    assert float(form.rate_bits().detach()) == float(bits.detach())


def test_what_counts_in_training_is_what_is_left_and_levels_have_an_end():
    values = torch.tensor([[1000.0, -0.3, 0.7, -1000.0]])
    form = Latent(values, RateStep(Uniform.on_grid(values, torch.tensor([0.5]))))
    settled = form.settled()
    assert settled.level.tolist() == [[MOST, -1, 1, -MOST]]
    assert settled().detach().numpy().tobytes() == form().detach().numpy().tobytes()


@pytest.mark.parametrize("shape", [(1,), (7,), (4, 3, 3, 3)])
def test_weights_of_every_shape_have_a_rate(shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    form = Latent(values, RateStep(Uniform.on_grid(values, torch.tensor([0.1]))))
    bits = form.rate_bits()
    bits.backward()
    assert bits.shape == () and 0 < float(bits) < 40 * values.numel()
    # Where a row is full, another level there costs nothing more than its zero.
    assert (form.values.grad * values >= 0).all()
