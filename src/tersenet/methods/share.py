"""Weight sharing: each layer's weights take few values, which train on, after Han et al. 2016, section 3."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Form, Sparse
from tersenet.forms._kmeans import Start
from tersenet.graph import Network
from tersenet.methods.select import replace_form


def share_weights(network: Network, name: str, *, k: int, init: Start, table: str, seed: int) -> int:
    """Hold weight `name` as a codebook of at most k values; zeros that are there stay zero.

    Returns the number of values, which is below k where fewer distinct weights are left.
    """
    if k < 1:
        raise TersenetError(f"a codebook of {k} values for '{name}'; at least 1 is needed")
    made: list[Codebook] = []

    def fit(kept: Tensor) -> Form:
        made.append(Codebook.fit(kept, k=k, init=init, table=table, seed=seed))
        return made[-1]

    attach_values(network, name, fit)
    return made[0].k if made else 0


def attach_values(network: Network, name: str, fit: Callable[[Tensor], Form]) -> None:
    """Put a form made by `fit` in place of the values of `name`, inside a sparse form where there are zeros."""
    held = network.form(name)
    weight = network.dense(name)
    form: Form
    if isinstance(held, Sparse):
        form = held.with_values(fit)
    elif int(torch.count_nonzero(weight)) < weight.numel():
        form = Sparse.fit(weight, values=fit)
    else:
        form = fit(weight)
    replace_form(network, name, form)


def as_kept(network: Network, name: str, values: Tensor) -> Tensor:
    """Numbers for each weight of `name`, in the shape in which `attach_values` hands those weights to `fit`."""
    held = network.form(name)
    if isinstance(held, Sparse):
        return values.reshape(-1)[held.position.to(values.device)]
    kept = network.dense(name) != 0
    return values if bool(kept.all()) else values[kept]
