"""Another graph for a network, with the tensors, forms and modes that it had."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from tersenet.graph.network import Network
from tersenet.ir import Graph


def rebuilt(network: Network, graph: Graph, changed: Mapping[str, Tensor]) -> Network:
    """A network of `graph` that shares nothing with the old one.

    changed   the tensors that are new or differ; a tensor keeps whether it trains, a new one trains
    """
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    tensors: dict[str, Tensor] = {}
    for name in graph.parameters:
        tensor = (changed[name] if name in changed else network.dense(name)).detach().clone()
        tensors[name] = nn.Parameter(tensor, requires_grad=False) if name in frozen else tensor
    made = Network(graph, tensors)
    for name, form in network.forms().items():
        if name in graph.parameters:
            made.attach(name, copy.deepcopy(form))
    modes = {name: module.training for name, module in network.named_modules()}
    for name, module in made.named_modules():
        module.training = modes.get(name, network.training)
    return made
