"""Integers times a step: nearest levels, steps that cost two bytes, and refusals."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Uniform, form_class, lift
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
