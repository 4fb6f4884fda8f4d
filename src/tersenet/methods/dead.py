"""Neurons that pruning has cut off leave the network, after Han et al. 2015, arXiv:1506.02626, section 3.5."""

from __future__ import annotations

from tersenet.forms import Dense, Sparse
from tersenet.graph import Network, remove_dead
from tersenet.methods.prune import attach_pruned


def remove_dead_units(network: Network) -> Network:
    """The network without neurons and channels that nobody reads or that always say the same; equal in eval mode.

    Pruned weights stay pruned. Layers whose weight has another form keep all theirs: do this before weights are stored.
    """
    working = network.clone()
    pruned = [
        name for name, form in working.forms().items() if isinstance(form, Sparse) and isinstance(form.values, Dense)
    ]
    for name in pruned:
        working.detach(name)
    smaller = remove_dead(working)
    for name in pruned:
        attach_pruned(smaller, name, smaller.dense(name))
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
