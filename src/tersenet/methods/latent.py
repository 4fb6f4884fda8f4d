"""Weights that train as dense numbers and count as a form of them, put in place and settled."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tersenet.forms import Dct, Form, Latent, Sparse
from tersenet.graph import Network
from tersenet.methods.select import replace_form


def attach_whole(network: Network, name: str, fit: Callable[[Tensor], Form]) -> None:
    """Put a form made by `fit` in place of weight `name`; of its kept values only, where it is sparse already.

    Zeros of a dense weight are values like any other.
    """
    held = network.form(name)
    form = held.with_values(fit) if isinstance(held, Sparse) else fit(network.dense(name))
    replace_form(network, name, form)


def settle(network: Network) -> None:
    """In place of all latent weights, the forms that they stand for."""
    for name, form in network.forms().items():
        if isinstance(form, Latent):
            replace_form(network, name, form.settled())
        elif isinstance(form, Dct) and isinstance(form.coefficients, Latent):
            replace_form(network, name, Dct(form.coefficients.settled(), form.axes))
        elif isinstance(form, Sparse) and isinstance(form.values, Latent):
            settled = form.values.settled()
            replace_form(network, name, Sparse(settled, form.position, form.shape))
