"""Small weights go, and with them every neuron that has no input or no output left (Pan et al. 2016, arXiv:1606.07326)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.methods.dead import remove_dead_units
from tersenet.methods.prune import attach_pruned
from tersenet.training.regularise import neuron_norms, stored_weights


def drop_neurons(network: Network, thresholds: Mapping[str, float]) -> Network:
    """A network without the weights below the threshold of their tensor, and without neurons that are cut off.

    thresholds   by weight name, on |w|; weights that have none stay as they are

    Channels of convolutions leave as neurons do. What is pruned stays pruned in training. Raises TersenetError for a
    threshold that is negative or not finite, and where nothing of a weight would be left.
    """
    working = network.clone()
    for name, threshold in thresholds.items():
        if not 0 <= threshold < math.inf:
            raise TersenetError(f"a threshold of {threshold} for '{name}'; expected a finite number of 0 or more")
        weight = working.dense(name)
        cut = torch.where(weight.abs() >= threshold, weight, torch.zeros_like(weight))
        if not cut.any():
            raise TersenetError(
                f"every weight of '{name}' lies below the threshold of {threshold:g} (the largest is "
                f"{float(weight.abs().max()):.3g}); lower it, or regularise less"
            )
        attach_pruned(working, name, cut)
    return remove_dead_units(working)


@dataclass(frozen=True)
class Connections:
    """What is in use of one layer.

    weights   that are not zero, of all
    inputs    that some weight reads, of all
    outputs   that some weight goes into, of all
    """

    weights: tuple[int, int]
    inputs: tuple[int, int]
    outputs: tuple[int, int]


def connections(network: Network) -> dict[str, Connections]:
    """Of each layer by the name of its weight."""
    found = {}
    for stored in stored_weights(network):
        used = (stored.value().detach() != 0).float()
        into, out_of = neuron_norms(used, stored.layer.op, stored.groups)
        weights, inputs, outputs = ((int(one.count_nonzero()), one.numel()) for one in (used, out_of, into))
        found[stored.layer.weight] = Connections(weights, inputs, outputs)
    return found


def what_is_left(before: Network, after: Network) -> list[str]:
    """A sentence for each layer that has fewer weights, inputs or outputs in use than before."""
    was, now = connections(before), connections(after)
    names = {layer.weight: layer.name for layer in before.weighted_layers()}
    return [
        f"{names.get(weight, weight)}: {now[weight].weights[0]:,} of {old.weights[1]:,} weights are left, "
        f"{now[weight].inputs[0]:,} of {old.inputs[1]:,} inputs and {now[weight].outputs[0]:,} of {old.outputs[1]:,} outputs"
        for weight, old in was.items()
        if now[weight] != old
    ]
