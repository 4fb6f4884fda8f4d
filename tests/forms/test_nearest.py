"""What a form's tables can represent: laws that hold for every form that says what is nearest."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import FORMS, Codebook, Dense, Form, Masked, Product, Residual, Sparse, Uniform, form_class

OPTIONS = {
    "codebook": {"k": 5, "init": "optimum"},
    "product": {"k": 4, "dim": 3},
    "residual": {"k": 4, "rounds": 2, "dim": 4, "beam": 3},
}
FITS = {name: partial(form_class(name).fit, **OPTIONS.get(name, {})) for name in FORMS} | {
    "codebook of float16": partial(Codebook.fit, k=6, init="optimum", table="float16"),
    "codebook of one value": partial(Codebook.fit, k=1),
    "float16": partial(Dense.fit, dtype="float16"),
    "codebook of int8": partial(Codebook.fit, k=6, init="optimum", table="int8"),
    "codebook of int8, a scale a row": partial(Codebook.fit, k=6, init="optimum", table="int8", per="row"),
    "uniform by row": partial(Uniform.fit, bits=3, per="row"),
    "uniform by groups": partial(Uniform.fit, bits=3, per=4),
    "uniform from least to largest": partial(Uniform.fit, bits=2, symmetric=False),
    "product along columns": partial(Product.fit, k=5, dim=2, axis="out"),
    "product, a codebook a place": partial(Product.fit, k=3, dim=8, shared=False),
    "residual of whole rows": partial(Residual.fit, k=3, rounds=2),
    "sparse of int8 codebook": partial(Sparse.fit, values=partial(Codebook.fit, k=4, table="int8")),
    "sparse of uniform": partial(Sparse.fit, values=partial(Uniform.fit, bits=3)),
    "sparse of codebook": partial(Sparse.fit, values=partial(Codebook.fit, k=4)),
    "sparse of float16": partial(Sparse.fit, values=partial(Dense.fit, dtype="float16")),
}
SAYS = {name: fit for name, fit in FITS.items() if name not in FORMS or form_class(name).snapped is not Form.snapped}


def _weight(seed: int, shape: tuple[int, ...] = (6, 4, 2, 2)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    weight[torch.rand(shape, generator=generator) < 0.4] = 0
    weight.reshape(-1)[0], weight.reshape(-1)[-1] = 1.0, -1.0
    return weight


def _all_nearest(form: Form, weight: torch.Tensor) -> torch.Tensor:
    """Group by group, as error feedback asks."""
    values = weight.double().flatten(1)
    parts = torch.arange(values.shape[1]).split(form.columns_together)
    return torch.cat([form.nearest(values[:, part], part) for part in parts], 1).reshape(weight.shape)


def test_the_forms_that_feedback_is_for_are_there():
    assert {"sparse", "codebook", "dense"} <= set(SAYS)


@pytest.mark.parametrize("fit", SAYS.values(), ids=list(SAYS))
def test_what_a_form_holds_is_nearest_to_itself_to_the_bit(fit):
    form = fit(_weight(0))
    held = form().detach()
    assert _all_nearest(form, held).float().numpy().tobytes() == held.numpy().tobytes()
    assert form.snapped(held)().detach().numpy().tobytes() == held.numpy().tobytes()


@pytest.mark.parametrize("fit", SAYS.values(), ids=list(SAYS))
def test_another_weight_is_held_as_the_nearest_of_each_group_and_stays_so_in_the_file(fit):
    form, other = fit(_weight(0)), 2 * _weight(1)
    snapped = form.snapped(other)
    assert type(snapped) is type(form) and snapped.shape == form.shape
    held = snapped().detach()
    assert torch.equal(held.double(), _all_nearest(form, other))
    assert torch.equal(held, form().detach()) == (len(held.unique()) == 1)
    assert snapped.snapped(held)().detach().numpy().tobytes() == held.numpy().tobytes()


@pytest.mark.parametrize("name", ["dense", "float16", "codebook", "codebook of float16", "codebook of one value"])
def test_nothing_that_the_form_held_is_nearer_to_any_number_of_a_tensor(name):
    form, other = SAYS[name](_weight(0)), 1.3 * _weight(1)
    found = (_all_nearest(form, other) - other).abs()
    best = (form().detach().unique()[:, None].double() - other.double().reshape(-1)).abs().amin(0)
    assert (found.reshape(-1) <= best + 1e-12).all()


def test_zeros_of_a_sparse_form_stay_and_only_they_are_free():
    weight = _weight(0)
    form = SAYS["sparse of codebook"](weight)
    assert torch.equal(form.snapped(torch.full_like(weight, 5.0))() == 0, weight == 0)
    empty = Sparse.fit(torch.zeros(3, 2))
    assert torch.equal(
        empty.nearest(torch.ones(3, 1, dtype=torch.float64), torch.tensor([1])), torch.zeros(3, 1).double()
    )
    assert torch.equal(empty.snapped(torch.ones(3, 2))(), torch.zeros(3, 2))


def test_a_codebook_takes_the_nearest_also_where_its_values_are_not_in_order():
    form = Codebook(torch.tensor([0.5, -1.0, 0.0]), torch.zeros(2, 2, dtype=torch.int64))
    values = torch.tensor([[0.3], [-9.0]], dtype=torch.float64)
    assert form.nearest(values, torch.tensor([0])).tolist() == [[0.5], [-1.0]]


def test_float16_beyond_its_range_is_its_largest_number():
    form = Dense.fit(torch.ones(2, 1), dtype="float16")
    assert form.nearest(torch.tensor([[1e9], [-1e9]]).double(), torch.tensor([0])).tolist() == [[65504.0], [-65504.0]]


def test_a_form_that_does_not_say_is_refused_by_name():
    form = Masked.fit(_weight(0))
    for ask in (lambda: form.nearest(torch.zeros(6, 1).double(), torch.tensor([0])), lambda: form.snapped(_weight(1))):
        with pytest.raises(TersenetError, match="form masked .* without calibration"):
            ask()
