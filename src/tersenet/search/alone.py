"""One layer, or one group of coupled layers, changed alone, after Han et al. 2015, arXiv:1506.02626, section 4.1, figure 6."""

from __future__ import annotations

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Group, Network, coupled_groups, remove_channels
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.select import select_layers
from tersenet.methods.share import share_weights

METHODS = ("prune", "bits", "channels")
SHARES, WIDTHS = ("prune", "channels"), ("bits",)
MAX_BITS = 16

Target = tuple[str, ...]
"""The layers that change together, in forward order; the first one's name stands for all."""


def check_methods(methods: tuple[str, ...]) -> None:
    """Refuse a method that is not there."""
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        came = f"'{unknown[0]}' is not there" if unknown else "none was given"
        raise TersenetError(f"methods to measure: {came}; present are {', '.join(METHODS)}")


def check_levels(shares: tuple[float, ...], widths: tuple[int, ...]) -> None:
    """Refuse a share outside (0, 1] and a number of bits outside 1 to 16."""
    for share in shares:
        if not 0 < share <= 1:
            raise TersenetError(f"a level of {share:g}; what is kept is a share above 0 and at most 1")
    for bits in widths:
        if bits not in range(1, MAX_BITS + 1):
            raise TersenetError(f"a level of {bits} bits; expected are whole numbers from 1 to {MAX_BITS}")


def targets(network: Network, method: str, where: str) -> list[Target]:
    """What `method` can change alone among the layers that `where` names.

    For channels: each group of coupled layers, whole, that has a layer so named and no channel that must stay.
    """
    layers = [layer.name for layer in select_layers(network, where)]
    if method != "channels":
        return [(name,) for name in layers]
    groups = [group for group in coupled_groups(network) if set(group.layers) & set(layers)]
    free = [group.layers for group in groups if not group.fixed]
    if not free:
        why = next((reason for group in groups for reason in group.fixed.values()), "it has no channels")
        raise TersenetError(f"channels: no group of '{where}' can lose any, for example {layers[0]}: {why}")
    return free


def changed(network: Network, method: str, target: Target, level: float, seed: int) -> tuple[Network, list[str]]:
    """A network in which only `target` went to `level`, and the names of the stored tensors that differ.

    prune      the share `level` of the weights with the largest magnitude stays
    bits       the weights share at most 2**level values, the optimum in one dimension
    channels   the share `level` of the channels stays, those with the largest norm; the others really leave
    """
    if method == "channels":
        smaller = _with_fewer_channels(network, target[0], level)
        return smaller, [
            name for name, tensor in smaller.tensors().items() if tensor.shape != network.dense(name).shape
        ]
    weight = next(layer.weight for layer in network.weighted_layers() if layer.name == target[0])
    working = network.clone()
    if method == "prune":
        attach_pruned(working, weight, keep_largest(working.dense(weight), level))
    else:
        share_weights(working, weight, k=2 ** int(level), init="optimum", table="float32", seed=seed)
    return working, [weight]


def _with_fewer_channels(network: Network, layer: str, level: float) -> Network:
    group = next(group for group in coupled_groups(network) if layer in group.layers)
    norms = unit_norms(network, group)
    must = {int(units[norms[units].argmax()]) for units in map(torch.from_numpy, group.units.values())}
    order = torch.sort(norms, descending=True, stable=True).indices.tolist()
    count = max(round(level * group.size), 1)
    keep = torch.zeros(group.size, dtype=torch.bool)
    # The strongest channel of every layer stays, so that none of them is emptied.
    keep[[*must, *(unit for unit in order if unit not in must)][: max(count, len(must))]] = True
    return remove_channels(network, group.masks(keep))


def unit_norms(network: Network, group: Group) -> Tensor:
    """The Euclidean norm of all weights that leave with each unit of a group, float64, on the CPU."""
    squares = torch.zeros(group.size, dtype=torch.float64)
    layers = {layer.name: layer for layer in network.weighted_layers()}
    for name, units in group.units.items():
        layer = layers[name]
        out_axis = 1 if layer.op in ("conv_transpose2d", "embedding") else 0
        rows = network.dense(layer.weight).movedim(out_axis, 0).flatten(1).cpu().double()
        squares.index_add_(0, torch.from_numpy(units), rows.square().sum(1))
    return squares.sqrt()
