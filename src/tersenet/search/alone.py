"""One layer, or one group of coupled layers, changed alone, after Han et al. 2015, arXiv:1506.02626, section 4.1, figure 6."""

from __future__ import annotations

from tersenet.errors import TersenetError
from tersenet.graph import Network, coupled_groups
from tersenet.methods._factorable import factorable
from tersenet.methods.channels import Limits, candidates, keep_shares, remove_units
from tersenet.methods.low_rank import factorise_layers, rank_by_numbers, spectra
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.scores import norm_scores
from tersenet.methods.select import select_layers
from tersenet.methods.share import share_weights

METHODS = ("prune", "bits", "channels", "rank")
SHARES, WIDTHS = ("prune", "channels", "rank"), ("bits",)
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

    For channels: each group of coupled layers, whole, that has a layer so named and no channel that must stay. For rank:
    those that can be two layers.
    """
    if method == "rank":
        return [(layer.name,) for layer in factorable(network, where, "rank")[0]]
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
    """A network in which only `target` went to `level`, and the names of the stored tensors that differ in either network.

    prune      the share `level` of the weights with the largest magnitude stays
    bits       the weights share at most 2**level values, the optimum in one dimension
    channels   the share `level` of the channels stays, those with the largest norm; the others really leave
    rank       two layers hold at most the share `level` of the numbers, by truncated SVD, but at least rank 1
    """
    if method == "channels":
        smaller = _with_fewer_channels(network, target[0], level)
        return smaller, [
            name for name, tensor in smaller.tensors().items() if tensor.shape != network.dense(name).shape
        ]
    if method == "rank":
        thinner = _of_lower_rank(network, target[0], level)
        was, now = set(network.graph.parameters), set(thinner.graph.parameters)
        return thinner, [name for name in (*network.graph.parameters, *thinner.graph.parameters) if name in was ^ now]
    weight = next(layer.weight for layer in network.weighted_layers() if layer.name == target[0])
    working = network.clone()
    if method == "prune":
        attach_pruned(working, weight, keep_largest(working.dense(weight), level))
    else:
        share_weights(working, weight, k=2 ** int(level), init="optimum", table="float32", seed=seed)
    return working, [weight]


def _with_fewer_channels(network: Network, layer: str, level: float) -> Network:
    where = pattern(layer)
    found, _ = candidates(network, where, norm_scores(network, 2))
    return remove_units(network, found, keep_shares(network, found, where, level, Limits()))


def _of_lower_rank(network: Network, layer: str, level: float) -> Network:
    (found,) = spectra(network, factorable(network, pattern(layer), "rank")[0])
    return factorise_layers(network, [found], {found.layer.weight: rank_by_numbers(found, level)})[0]


def pattern(name: str) -> str:
    """A pattern that names this layer alone, also where it is called "first" or "last"."""
    return f"[{name[0]}]{name[1:]}" if name in ("first", "last") else name
