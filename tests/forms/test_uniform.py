"""Integers times a step: nearest levels, steps that cost two bytes, and refusals."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Latent, LearnedStep, Uniform, form_class, lift
from tersenet.forms._grid import usable_step
from tersenet.storage import Affine, Floats, Reshape, size_bytes


def _weight(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("per", ["tensor", "row"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_a_weight_moves_by_at_most_half_a_step_and_levels_fit_the_bits(bits, symmetric, per):
    weight = _weight(6, 5, 3, 3).abs() + 0.1 if not symmetric else _weight(6, 5, 3, 3)
    form = Uniform.fit(weight, bits=bits, per=per, symmetric=symmetric)
    step = form.step.detach().reshape(-1, 1, 1, 1)
    # A step rounded down to float16 leaves the largest weight a little further away.
    assert bool(((form().detach() - weight).abs() <= step * (0.5 + 2**bits * 2**-11)).all())
    assert int(form.level.max()) - min(int(form.level.min()), 0) <= 2**bits + (2**bits >> 10)
    assert len(form.step) == (6 if per == "row" else 1)


def test_rows_of_different_size_are_nearer_with_a_step_each():
    weight = _weight(8, 64) * torch.logspace(-3, 0, 8)[:, None]
    errors = [float((Uniform.fit(weight, bits=4, per=per)() - weight).square().sum()) for per in ("tensor", "row")]
    assert errors[1] < errors[0] / 2


def test_steps_are_stored_as_float16_where_that_is_normal_and_as_float32_elsewhere():
    for scale, dtype in ((1.0, "float16"), (1e-6, "float32"), (1e8, "float32")):
        tree = Uniform.fit(_weight(4, 8) * scale, bits=4).lower("raw")
        assert isinstance(tree, Reshape)
        assert isinstance(tree.source, Affine)
        assert isinstance(tree.source.step, Floats)
        assert tree.source.step.values.dtype.name == dtype


def test_a_step_learns_while_levels_stay():
    form = Uniform.fit(_weight(16, 16), bits=3)
    before = form.level.clone()
    target = 1.3 * form().detach()
    optimiser = torch.optim.SGD(form.parameters(), lr=1e-4)
    for _ in range(200):
        optimiser.zero_grad()
        (form() - target).square().sum().backward()
        optimiser.step()
    assert torch.allclose(form(), target, rtol=1e-3)
    assert torch.equal(form.level, before)


def test_zeros_cost_little_under_an_entropy_coder():
    weight = torch.where(torch.rand(64, 64, generator=torch.Generator().manual_seed(1)) > 0.9, _weight(64, 64), 0.0)
    tree = Uniform.on_grid(weight, torch.tensor([4.0])).lower("rans")
    assert size_bytes(tree, "rans") < 64 * 64 // 8 // 4


def test_constant_and_zero_weights_have_a_grid():
    for value in (0.0, 0.25, -3.0):
        form = Uniform.fit(torch.full((3, 4), value), bits=8, per="row", symmetric=False)
        assert float((form() - value).abs().max()) <= abs(value) * 2**-10


@pytest.mark.parametrize("coder", ["raw", "huffman", "rans", "range"])
def test_levels_that_are_all_zero_take_no_bytes(coder):
    form = Uniform.on_grid(torch.zeros(5000), torch.tensor([0.5]))
    assert size_bytes(form.lower(coder), coder) <= 20
    again = lift(form.lower(coder))
    assert isinstance(again, Uniform) and torch.equal(again(), torch.zeros(5000))


def test_another_forms_storage_is_not_lifted():
    assert Uniform.lift(form_class("codebook").fit(_weight(4, 4), k=3).lower("raw")) is None
    assert isinstance(lift(Uniform.fit(_weight(4, 4)).lower("raw")), Uniform)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Uniform.fit(_weight(2, 2), bits=1), "2 to 16 can be"),
        (lambda: Uniform.fit(_weight(2, 2), per="column"), "one per tensor, per row, or"),
        (lambda: Uniform.on_grid(_weight(2, 2), torch.tensor([0.0])), "steps of a grid are positive"),
        (lambda: Uniform.on_grid(_weight(2, 2), torch.tensor([float("nan")])), "steps of a grid are positive"),
        (lambda: Uniform.on_grid(torch.full((2, 2), 1e6), torch.tensor([1e-3])), "take a larger step"),
        (lambda: Uniform(torch.zeros(2, 3, dtype=torch.int32), torch.ones(4)), r"steps of shape \(4,\)"),
    ],
)
def test_grids_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(TersenetError, match=sentence):
        make()


def test_usable_steps_are_exact_in_float16_and_never_zero():
    step = usable_step(torch.tensor([0.1, 0.0, 3.0]))
    assert torch.equal(step.half().float(), step)
    assert bool((step > 0).all())


def _squared(form: Uniform, weight: torch.Tensor, importance: float | torch.Tensor = 1.0) -> float:
    return float(((form().detach() - weight).square() * importance).sum())


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_clipped_ranges_err_less_and_the_least_squares_range_least(bits, symmetric):
    weight = _weight(6, 200) ** 3
    error = {
        by: _squared(Uniform.fit(weight, bits=bits, per="row", symmetric=symmetric, range=by), weight)
        for by in ("minmax", "mse")
    }
    assert error["mse"] < error["minmax"]
    for share in torch.linspace(0.2, 1, 33):  # nothing on a grid of other clippings is much nearer
        other = Uniform.fit(weight.clamp(weight.min() * share, weight.max() * share), bits=bits, symmetric=symmetric)
        assert error["mse"] <= _squared(other, weight) * 1.01


def test_a_percentile_keeps_one_far_weight_from_setting_the_step():
    weight = torch.cat([_weight(4000), torch.tensor([1000.0])]).reshape(1, -1)
    steps = [float(Uniform.fit(weight, bits=8, range=by).step.detach()) for by in ("minmax", "percentile")]
    assert steps[0] > 7 and steps[1] < 0.04


def test_errors_weighed_by_importance_are_least_with_the_range_hessian():
    weight, importance = _weight(5, 30) ** 3, torch.logspace(-4, 2, 30).expand(5, 30)
    error = {
        by: _squared(Uniform.fit(weight, bits=3, per="row", range=by, importance=importance), weight, importance)
        for by in ("mse", "hessian")
    }
    assert error["hessian"] < 0.8 * error["mse"]
    with pytest.raises(TersenetError, match="weighs errors by importance"):
        Uniform.fit(weight, range="hessian")
    with pytest.raises(TersenetError, match=r"importance of shape \(30,\)"):
        Uniform.fit(weight, range="hessian", importance=torch.ones(30))


@pytest.mark.parametrize("per", ["tensor", "row", 4])
@pytest.mark.parametrize(("bits", "symmetric"), [(1, False), (2, True), (3, False), (8, True), (8, False)])
def test_a_weight_on_a_grid_is_found_to_the_last_bit(bits, symmetric, per):
    generator = torch.Generator().manual_seed(bits)
    runs = {"tensor": 1, "row": 6, 4: 24}[per]
    step = torch.rand(runs, 1, generator=generator) / 7 + 1e-3
    low = -(2 ** (bits - 1) - 1) if symmetric else -(2**bits // 3)
    high = -low if symmetric else low + 2**bits - 1
    level = torch.randint(low, high + 1, (runs, 96 // runs), generator=generator)
    weight = (level.float() * step).reshape(6, 16)
    form = Uniform.fit(weight, bits=bits, per=per, symmetric=symmetric, range="exact")
    assert torch.equal(form().detach(), weight)
    tree = form.lower("raw")
    assert size_bytes(tree, "raw") <= 96 * bits / 8 + 4 * runs + runs * bits / 8 + 40
    nudged = weight.clone()
    nudged[0, 0] += 1e-5 if float(weight[0, 0]) == 0 else float(weight[0, 0]) * 1e-5
    if bits == 8:
        with pytest.raises(TersenetError, match="lie on no even grid of 8 bits"):
            Uniform.fit(nudged, bits=bits, per=per, symmetric=symmetric, range="exact")


@pytest.mark.parametrize(("columns", "per", "groups"), [(12, 4, 3), (12, 5, 3), (9, 32, 1), (7, 4, 7)])
def test_groups_are_of_the_largest_divisor_of_a_row(columns, per, groups):
    assert len(Uniform.fit(_weight(2, columns), bits=4, per=per).step) == 2 * groups


def test_rows_on_either_side_of_zero_take_no_more_bits_than_asked_for():
    weight = torch.stack([_weight(256).abs(), -_weight(256).abs()])
    tree = Uniform.fit(weight, bits=4, per="row", symmetric=False).lower("raw")
    assert size_bytes(tree, "raw") <= 256 + 32
    assert torch.equal(lift(tree)().detach(), Uniform.fit(weight, bits=4, per="row", symmetric=False)().detach())


@pytest.mark.parametrize("per", ["tensor", "row", 4])
def test_nearest_and_snapped_agree_and_stay_within_the_levels(per):
    form = Uniform.fit(_weight(6, 8), bits=3, per=per)
    other = 4 * _weight(6, 8).flip(1)
    columns = torch.tensor([7, 0, 3])
    near = form.nearest(other[:, columns].double(), columns)
    assert torch.allclose(near, form.snapped(other)().detach().double()[:, columns], rtol=1e-6)
    assert int(form.snapped(other).level.abs().max()) == 3
    for column, values in zip(columns, near.T):  # no neighbour on the grid is nearer
        step = form.snapped(other).step.detach().double()
        step = step.repeat_interleave(48 // len(step)).reshape(6, 8)[:, column]
        inside = (values / step).abs().round() < 3
        assert bool(((values - other[:, column]).abs() <= step / 2 * (1 + 1e-6))[inside].all())


@pytest.mark.parametrize("per", ["tensor", "row", 4])
def test_the_gradient_of_a_learned_step_is_that_of_the_paper(per):
    weight = 2 * _weight(6, 8)
    start = Uniform.fit(weight / 2, bits=3, per=per)
    form = Latent(weight, LearnedStep(start))
    upstream = _weight(6, 8).flip(0)
    form().backward(upstream)
    m = len(start.step)
    place = (weight / start.step.detach().repeat_interleave(48 // m).reshape(6, 8)).reshape(m, -1)
    inside = place.abs() <= 3
    wanted = (upstream.reshape(m, -1) * torch.where(inside, place.round() - place, 3 * place.sign())).sum(1)
    wanted = wanted / start.step.detach() / (48 / m * 3) ** 0.5
    assert torch.allclose(form.quantiser.factor.grad, wanted, rtol=1e-4, atol=1e-6)
    assert torch.equal(form.values.grad, upstream * inside.reshape(6, 8))


def test_a_learned_step_grows_to_the_weights_that_it_cuts_off():
    weight = _weight(16, 16)
    form = Latent(weight, LearnedStep(Uniform.fit(weight / 4, bits=3)))
    form.values.requires_grad_(False)
    optimiser = torch.optim.Adam([form.quantiser.factor], lr=0.05)
    errors = []
    for _ in range(100):
        optimiser.zero_grad()
        error = (form() - weight).square().sum()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 1.05 * _squared(Uniform.fit(weight, bits=3, range="mse"), weight) < errors[0] / 2
