"""Neurons that pruning has cut off leave the network, after Han et al. 2015, arXiv:1506.02626, section 3.5."""

from __future__ import annotations

from functools import partial

import torch

from tersenet.forms import Dct, Uniform
from tersenet.forms._order import one_step
from tersenet.graph import Network, remove_dead
from tersenet.methods.prune import with_pruned_dense


def remove_dead_units(network: Network) -> Network:
    """The network without neurons and channels that nobody reads or that always say the same; equal in eval mode.

    Pruned weights stay pruned, and weights on a grid of one step stay on it, but for biases that take up the constants
    of what left. Layers whose weight has another form keep all theirs: do this before weights are stored.
    """
    grids = {
        name: (step, isinstance(form, Dct))
        for name, form in network.forms().items()
        if (step := one_step(form.coefficients if isinstance(form, Dct) else form)) is not None
    }
    working = network.clone()
    for name in grids:
        working.detach(name)
    smaller = with_pruned_dense(working, remove_dead)
    for name, (step, frequencies) in grids.items():
        if name in smaller.graph.parameters:
            weight = smaller.dense(name)
            on_grid = partial(Uniform.on_grid, step=step)
            form = Dct.fit(weight, coefficients=on_grid) if frequencies else on_grid(weight)
            if torch.equal(form(), weight):
                smaller.attach(name, form)
    return smaller


def lost_units(before: Network, after: Network) -> list[str]:
    """A sentence for each layer that has fewer outputs than before."""
    sizes = {name: len(after.dense(name)) for name in after.graph.parameters}
    return [
        f"{layer.name}: {len(before.dense(layer.weight)) - sizes[layer.weight]} of {len(before.dense(layer.weight))} "
        "outputs were dead and left"
        for layer in before.weighted_layers()
        if sizes[layer.weight] < len(before.dense(layer.weight))
    ]
