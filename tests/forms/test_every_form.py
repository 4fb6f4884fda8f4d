"""Laws that hold for every form; a new one is tested by being in the table."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tersenet import storage
from tersenet.bits import ByteReader
from tersenet.errors import TersenetError
from tersenet.forms import (
    FORMS,
    Binary,
    Codebook,
    Columns,
    Dct,
    Dense,
    FixedPoint,
    Form,
    Latent,
    LearnedStep,
    Masked,
    Product,
    Residual,
    Sparse,
    Ternary,
    Uniform,
    form_class,
    lift,
)
from tersenet.forms._grid import Grid

OPTIONS = {
    "codebook": {"k": 5, "init": "optimum"},
    "product": {"k": 4, "dim": 3},
    "residual": {"k": 4, "rounds": 2, "dim": 4, "beam": 3},
}
NESTED = {
    "sparse of codebook": partial(Sparse.fit, values=partial(Codebook.fit, k=4, init="linear")),
    "sparse of float16": partial(Sparse.fit, values=partial(Dense.fit, dtype="float16")),
    "uniform by row": partial(Uniform.fit, bits=4, per="row"),
    "uniform between least and largest": partial(Uniform.fit, bits=3, symmetric=False),
    "sparse of uniform": partial(Sparse.fit, values=partial(Uniform.fit, bits=12)),
    "masked that regrows": partial(Masked.fit, regrows=True),
    "binary of one scale": partial(Binary.fit, per="tensor"),
    "ternary by the mean": partial(Ternary.fit, threshold="mean"),
    "sparse of binary": partial(Sparse.fit, values=Binary.fit),
    "latent binary": partial(Latent.fit, fit=Binary.fit),
    "latent ternary": partial(Latent.fit, fit=Ternary.fit),
    "uniform by groups": partial(Uniform.fit, bits=4, per=8, range="mse"),
    "latent with a learned step": lambda weight: Latent(weight, LearnedStep(Uniform.fit(weight, bits=3, per="row"))),
    "sparse of fixed point": partial(Sparse.fit, values=partial(FixedPoint.fit, bits=4)),
    "codebook of float16": partial(Codebook.fit, k=6, init="optimum", table="float16"),
    "codebook from k-means++": partial(Codebook.fit, k=6, init="kmeans++"),
    "codebook of int8": partial(Codebook.fit, k=6, init="optimum", table="int8"),
    "codebook of int8, a scale a row": partial(Codebook.fit, k=6, init="optimum", table="int8", per="row"),
    "sparse of int8 codebook": partial(Sparse.fit, values=partial(Codebook.fit, k=6, init="density", table="int8")),
    "product along columns, in float16": partial(Product.fit, k=5, dim=2, axis="out", table="float16"),
    "product, a codebook a place": partial(Product.fit, k=3, dim=20, shared=False),
    "product of kernels": partial(Product.fit, k=3, dim=9),
    "residual of whole rows": partial(Residual.fit, k=3, rounds=3, beam=2),
    "residual along columns, in float16": partial(Residual.fit, k=2, rounds=2, dim=3, axis="out", table="float16"),
    "sparse of product": partial(Sparse.fit, values=partial(Product.fit, k=4, dim=3)),
    "frequencies in a codebook": partial(Dct.fit, coefficients=partial(Codebook.fit, k=6, init="optimum")),
    "sparse frequencies": partial(Dct.fit, coefficients=partial(Sparse.fit, values=Dense.fit)),
    "frequencies, a step a column": partial(Dct.fit, coefficients=Columns.fit),
    "columns of four bits": partial(Columns.fit, bits=4),
    "sparse of residual": partial(Sparse.fit, values=partial(Residual.fit, k=4, rounds=2, dim=2)),
}
FITS = {name: partial(form_class(name).fit, **OPTIONS.get(name, {})) for name in FORMS} | NESTED
# Latent weights have the gradient of what they stand for: see test_latent.py. Nothing of fixed point trains.
LINEAR = {name: fit for name, fit in FITS.items() if not name.startswith("latent") and "fixed" not in name}
CODERS = ("raw", "huffman", "rans", "range")


def _weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sparse = torch.randn(30, 40, generator=generator)
    sparse[torch.rand(30, 40, generator=generator) > 0.05] = 0
    dead = sparse.clone()
    dead[3:20] = 0
    dead[:, 5:30] = 0
    return {
        "one weight": torch.tensor([1.5]),
        "one weight of four dimensions": torch.tensor([-2.0]).reshape(1, 1, 1, 1),
        "all equal": torch.full((3, 4), 0.25),
        "a kernel": torch.randn(4, 3, 3, 3, generator=generator),
        "5 % of a matrix": sparse,
        "rows and columns that hold nothing": dead,
        "nothing but the last": torch.cat([torch.zeros(999), torch.ones(1)]),
        "nothing but the first": torch.cat([torch.ones(1), torch.zeros(999)]),
        "nearly full": torch.where(
            torch.rand(64, 64, generator=generator) > 0.02, torch.randn(64, 64, generator=generator), 0.0
        ),
        "a wide range": torch.tensor([1e-6, 6e4, -1e-6, 3.0]),
        "a scalar's row": torch.randn(1, 7, generator=generator),
    }


WEIGHTS = _weights()


def kinds(form: Form) -> list[str]:
    """The forms from the outside in; masks and latent weights are not stored, only what they leave."""
    if isinstance(form, Masked):
        return ["Sparse", "Dense"]
    if isinstance(form, Latent):
        return kinds(form.settled())
    if isinstance(form, Dct):
        return ["Dct", *kinds(form.coefficients)]
    if isinstance(form, Columns):
        return ["Columns", *kinds(form.turned)]
    return [type(form).__name__] + (kinds(form.values) if isinstance(form, Sparse) else [])


def scaled(part: torch.nn.Module) -> bool:
    """A step reaches its weights times their levels, a centroid of int8 times their row's scale."""
    return isinstance(part, Grid) or (isinstance(part, Codebook) and part.scale is not None and len(part.scale) > 1)


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=list(WEIGHTS))
@pytest.mark.parametrize("fit", FITS.values(), ids=list(FITS))
def test_storage_decodes_to_the_bits_that_forward_gives_and_lifts_to_the_same_form(fit, weight, coder):
    form = fit(weight)
    tree = form.lower(coder)
    data, parts = storage.write(tree, coder)
    assert sum(part.size_bytes for part in parts) <= len(data)
    again, _ = storage.read(ByteReader(data), "w", storage.Budget(1 << 24))
    expected = form().detach().numpy()
    assert expected.shape == tuple(weight.shape) == tuple(again.shape)
    assert storage.decode(again).tobytes() == expected.tobytes()
    lifted = lift(again)
    assert lifted is not None
    # Codes whose first value is 0.0 are how a nearly full sparse weight is stored, so a codebook like that becomes one.
    zero_first = isinstance(form, Codebook) and form.scale is None and float(weight.min()) == 0
    assert kinds(lifted) == (["Sparse", "Codebook"] if zero_first else kinds(form))
    assert lifted().detach().numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("fit", LINEAR.values(), ids=list(LINEAR))
def test_zeros_stay_zero_in_sparse_forms_and_every_parameter_gets_the_gradient_of_its_weights(fit):
    weight = WEIGHTS["5 % of a matrix"]
    form = fit(weight)
    upstream = torch.randn(30, 40, generator=torch.Generator().manual_seed(1))
    form().backward(upstream)
    # Every form is linear in what it trains, so that gradient times parameter is gradient times weight (Euler).
    along = sum(float((parameter.grad.double() * parameter.detach()).sum()) for parameter in form.parameters())
    products = upstream.double() * form().detach()
    assert along == pytest.approx(float(products.sum()), abs=float(products.abs().sum()) * 2**-11)
    if not any(scaled(part) for part in form.modules()):
        # Where a weight is a sum of entries of several tables, each table gets the whole gradient: the first tells.
        first = [one for name, one in form.named_parameters() if "tables." not in name or name.endswith("tables.0")]
        total = sum(float(parameter.grad.double().sum()) for parameter in first)
        fixed = isinstance(form, Sparse) or (isinstance(form, Masked) and not form.regrows)
        reached = upstream[weight != 0] if fixed else upstream
        assert total == pytest.approx(float(reached.double().sum()), rel=1e-5)
    if isinstance(form, (Sparse, Masked)):
        with torch.no_grad():
            for parameter in form.parameters():
                parameter.add_(1.0)
        assert torch.equal(form() == 0, weight == 0)


@pytest.mark.parametrize("fit", FITS.values(), ids=list(FITS))
def test_a_rate_is_a_finite_number_of_bits(fit):
    for weight in WEIGHTS.values():
        bits = float(fit(weight).rate_bits())
        assert 0 <= bits < 64 * weight.numel() + 64 * 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("fit", FITS.values(), ids=list(FITS))
def test_weights_that_are_not_finite_are_refused(fit, bad):
    with pytest.raises(TersenetError, match="1 of 3 weights are NaN or infinite"):
        fit(torch.tensor([1.0, bad, 2.0]))


@pytest.mark.parametrize("fit", FITS.values(), ids=list(FITS))
def test_an_empty_weight_is_refused(fit):
    with pytest.raises(TersenetError, match="is empty"):
        fit(torch.zeros(0, 3))


def test_the_table_of_forms_names_classes_that_are_forms():
    for name in FORMS:
        assert issubclass(form_class(name), Form)
        assert form_class(name).__name__.lower() == name.replace("_", "")
    with pytest.raises(TersenetError, match=f"this build knows {', '.join(FORMS)}"):
        form_class("ternay")


def test_an_all_zero_weight_keeps_nothing_and_comes_back():
    form = Sparse.fit(torch.zeros(6, 5))
    tree = form.lower("huffman")
    assert np.array_equal(storage.decode(tree), np.zeros((6, 5), np.float32))
    assert len(storage.write(tree, "huffman")[0]) < 20


def _roles(density: float, coder: str) -> tuple[set[str], int]:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(200, 200, generator=generator)
    weight[torch.rand(200, 200, generator=generator) >= density] = 0
    form = Sparse.fit(weight, values=partial(Codebook.fit, k=16, init="optimum"))
    data, parts = storage.write(form.lower(coder), coder)
    return {part.role for part in parts} & {"gaps", "bitmask"}, len(data)


@pytest.mark.parametrize(
    ("density", "coder", "roles"),
    [
        (0.02, "huffman", {"gaps"}),
        (0.02, "rans", {"gaps"}),
        (0.45, "raw", {"bitmask"}),
        (0.99, "huffman", set()),  # a code for every place
    ],
)
def test_the_smallest_of_gaps_bitmask_and_codes_is_stored(density, coder, roles):
    found, size_bytes = _roles(density, coder)
    assert found == roles
    kept = density * 200 * 200
    assert size_bytes < 200 * 200 / 8 + kept * 5 / 8
