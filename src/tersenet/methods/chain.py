"""What only one layer's outputs go through: normalisation, then activation, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass

from tersenet.graph import Network, WeightedLayer
from tersenet.ir import Node, Parameter, Value

PASSES = frozenset(["dropout", "feature_dropout", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"])
ACTIVATIONS = frozenset(
    [
        *("relu", "relu6", "hardtanh", "clamp", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish", "softplus"),
        *("hardswish", "hardsigmoid", "sigmoid", "tanh"),
    ]
)


@dataclass(frozen=True)
class Chain:
    """Positions of nodes in the op list; each reads the one before it, and nothing else does.

    layer        the layer's own node
    normalised   the last normalisation behind it, or the layer itself where there is none
    activation   the activation behind that, or None
    scale        the stored scale of the first normalisation, or None
    """

    layer: int
    normalised: int
    activation: int | None
    scale: str | None


def chain_after(network: Network, layer: WeightedLayer) -> Chain:
    """The chain of one use of a layer. It ends where a value is read twice, or joined with another."""
    graph = network.graph
    last, normalised, scale = layer.index, layer.index, None
    while (found := _only_reader(network, graph.first_value(last))) is not None:
        node = graph.nodes[found]
        if node.op in ACTIVATIONS:
            return Chain(layer.index, normalised, found, scale)
        if node.op == "batch_norm" or _by_stored(node):
            normalised = found
            if scale is None:
                scale = _scale(node)
        elif node.op not in PASSES:
            break
        last = found
    return Chain(layer.index, normalised, None, scale)


def cuts_at_zero(node: Node) -> bool:
    """Whether an activation answers exactly 0 for whatever is negative."""
    lowest = {"hardtanh": "min_val", "clamp": "min"}.get(node.op)
    return node.op in ("relu", "relu6") or (lowest is not None and node.get(lowest) == 0)


def channel_axis(layer: WeightedLayer) -> int:
    """The axis of the layer's outputs that has its channels."""
    return 1 if layer.op.startswith("conv") else -1


def _only_reader(network: Network, value: int) -> int | None:
    graph = network.graph
    readers = [index for index, node in enumerate(graph.nodes) if Value(value) in node.tensors()]
    return readers[0] if len(readers) == 1 and Value(value) not in graph.outputs else None


def _by_stored(node: Node) -> bool:
    """What folded BatchNorm is: a product or a sum with a stored tensor."""
    return node.op in ("mul", "add") and any(isinstance(one, Parameter) for one in node.tensors())


def _scale(node: Node) -> str | None:
    given = node.get("weight") if node.op == "batch_norm" else None
    if node.op == "mul":
        given = next(one for one in node.tensors() if isinstance(one, Parameter))
    return given.name if isinstance(given, Parameter) else None
