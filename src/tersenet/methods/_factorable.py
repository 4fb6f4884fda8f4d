"""Which layers can be factorised, and what a user should know of those that stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.graph.chains import why_no_chain
from tersenet.methods._meetings import first_uses
from tersenet.methods.select import select_layers


def factorable(
    network: Network, where: str, method: str, *, spatial: bool = False
) -> tuple[list[WeightedLayer], list[str]]:
    """The layers that `where` names and that can become a chain, and a sentence on each that cannot.

    spatial   only convolutions whose kernel has more than one place

    Refused: a pattern without a layer, no layer that can, weights that are NaN or the same number everywhere.
    """
    found, notes = [], []
    for layer in first_uses(select_layers(network, where)):
        why = why_no_chain(network, layer)
        if why is None and spatial and network.dense(layer.weight)[0, 0].numel() == 1:
            why = "it has no kernel of more than one place; low_rank is for such layers"
        if why is None:
            found.append(layer)
        else:
            notes.append(f"{layer.name}: left as it is; {why}")
    if not found:
        raise TersenetError(f"{method}: '{where}' names no layer that can be factorised. {'. '.join(notes[:4])}")
    for layer in found:
        _check(layer, network.dense(layer.weight))
        held = network.form(layer.weight)
        if held is not None:
            notes.append(
                f"{layer.name}: its factors are plain numbers; the {type(held).__name__} form that held it went"
            )
    return found, notes


def _check(layer: WeightedLayer, weight: Tensor) -> None:
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise TersenetError(
            f"layer '{layer.name}': {bad} of {weight.numel()} weights are NaN or infinite; repair the network first"
        )
    if bool((weight == weight.flatten()[0]).all()):
        raise TersenetError(
            f"layer '{layer.name}': all weights are {float(weight.flatten()[0]):g}; there is nothing to factorise, leave "
            "it out of `where`"
        )
