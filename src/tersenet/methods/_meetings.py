"""Layer after layer in forward order: what each meets in a network that is being changed, and what the original answers.

Errors do not add up where each layer is set right on the inputs that the changed layers before it give (as in Frantar
and Alistarh 2022, OBC, arXiv:2208.11580, and its followers).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from torch import Tensor

from tersenet.graph import Network, WeightedLayer
from tersenet.graph.walk import Walk
from tersenet.ir import Graph, Parameter, Value

# Layers that are a matrix times rows of their input.
GEMM = ("linear", "conv1d", "conv2d")
Meeting = tuple[WeightedLayer, list[Tensor], list[Tensor]]
"""A layer, its input in each batch, and the original's answer to the original's input; both empty for other layers."""


def meetings(
    network: Network, original: Network, batches: Sequence[tuple[Tensor, ...]], weights: Collection[str]
) -> Iterator[Meeting]:
    """The layers of `weights`, at their first use; `network` may change a layer's tensors before it asks for the next.

    Two passes in eval mode go on side by side, all batches at once, so memory is that of two forward passes.
    """
    layers = {layer.index: layer for layer in first_uses(network.weighted_layers()) if layer.weight in weights}
    before, after = Walk(original, batches), Walk(network, batches)
    for position, node in enumerate(network.graph.nodes):
        layer = layers.get(position)
        given = wanted = None
        if layer is not None and layer.op in GEMM:
            given = after.value(Value(node.tensors()[0].number))  # type: ignore[union-attr]
        before.step()
        if given is not None:
            wanted = before.value(Value(network.graph.first_value(position)))
        if layer is not None:
            yield layer, given or [], wanted or []
        after.step()


def first_uses(layers: Sequence[WeightedLayer]) -> list[WeightedLayer]:
    """One entry for each weight, where it is used first, in forward order."""
    return sorted({layer.weight: layer for layer in reversed(layers)}.values(), key=lambda layer: layer.index)


def uses(graph: Graph, name: str) -> int:
    """How often a stored tensor is read."""
    return sum(node.tensors().count(Parameter(name)) for node in graph.nodes)
