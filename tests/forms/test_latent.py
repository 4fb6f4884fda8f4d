"""Latent weights: straight-through gradients, and what is left is what counted."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Binary, Latent, Ternary

FITS = {"binary": Binary.fit, "ternary": Ternary.fit, "ternary by the mean": partial(Ternary.fit, threshold="mean")}


def _weight(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("fit", FITS.values(), ids=list(FITS))
def test_the_gradient_of_the_weight_reaches_the_latent_weights_as_it_is(fit):
    form = Latent.fit(_weight(4, 6), fit=fit)
    upstream = _weight(4, 6) + 1
    form().backward(upstream)
    assert torch.equal(form.values.grad, upstream)


@pytest.mark.parametrize("fit", FITS.values(), ids=list(FITS))
def test_what_is_left_computes_the_bits_that_counted(fit):
    form = Latent.fit(_weight(4, 3, 3, 3), fit=fit)
    with torch.no_grad():
        form.values += 0.3 * _weight(4, 3, 3, 3).flip(0)
    settled = form.settled()
    assert not isinstance(settled, Latent)
    assert settled().detach().numpy().tobytes() == form().detach().numpy().tobytes()


def test_small_moves_add_up_to_another_sign():
    form = Latent.fit(torch.tensor([[0.5, -0.5]]), fit=Binary.fit)
    optimiser = torch.optim.SGD(form.parameters(), lr=0.1)
    signs = []
    for _ in range(20):
        optimiser.zero_grad()
        (form() - torch.tensor([[-0.5, -0.5]])).square().sum().backward()
        optimiser.step()
        signs.append(float(form().detach()[0, 0]) > 0)
    assert signs[0] and not signs[-1]


def test_latent_weights_that_training_ruins_are_refused():
    form = Latent.fit(_weight(2, 2), fit=Ternary.fit)
    with torch.no_grad():
        form.values[0, 0] = float("nan")
    with pytest.raises(TersenetError, match="1 of 4 weights are NaN"):
        form()
