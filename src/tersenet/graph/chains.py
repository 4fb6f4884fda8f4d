"""A layer becomes a chain of ordinary layers, whose weights may then take any form.

READ FIRST
  1. The links of NAME are called NAME.0, NAME.1 and so on. The last one has the bias, which is then NAME.1.bias, unless
     something else reads it too: then it keeps its name.
  2. One link of a convolution keeps stride, padding and dilation; all others are 1x1.
  3. A weight that several nodes share is replaced in all of them by one shared chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Shaped
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph._translate import renumbered
from tersenet.graph.network import Network, WeightedLayer
from tersenet.graph.rebuild import rebuilt
from tersenet.ir import OPS, Graph, Node, Parameter, Value, make_node

# Operations that are a matrix times rows of their input.
CHAINABLE = ("linear", "conv1d", "conv2d")


@dataclass(frozen=True)
class Chain:
    """What takes a layer's place.

    weights       of its links in the order in which data flows: (out, in) of linear, (out, in, *kernel) of a convolution
    spatial       which of them keeps stride, padding and dilation of a convolution; the others have kernels of one place
    bias_change   is added to the bias, (out), or nothing; only for a layer with a bias of its own (`own_bias`)
    """

    weights: tuple[Shaped[Tensor, "..."], ...]
    spatial: int = 0
    bias_change: Shaped[Tensor, " out"] | None = None


def why_no_chain(network: Network, layer: WeightedLayer) -> str | None:
    """Why a layer cannot become a chain, as the end of a sentence, or None where it can."""
    if layer.op not in CHAINABLE:
        return f"it is {layer.op}, no linear, conv1d or conv2d"
    readers = [node for node in network.graph.nodes if Parameter(layer.weight) in node.tensors()]
    others = [node.op for node in readers if node.op not in CHAINABLE or node.get("weight") != Parameter(layer.weight)]
    if others:
        return f"its weight is read by {others[0]} too"
    if any(node.op != "linear" and node.get("groups") != 1 for node in readers):
        return "its channels are in groups"
    return None


def own_bias(network: Network, layer: WeightedLayer) -> str | None:
    """The bias that every use of a layer's weight adds and nothing else reads, or None."""
    if layer.bias is None:
        return None
    weight, bias = Parameter(layer.weight), Parameter(layer.bias)
    readers = [node for node in network.graph.nodes if weight in node.tensors() or bias in node.tensors()]
    own = all(node.arguments.get("weight") == weight and node.arguments.get("bias") == bias for node in readers)
    return layer.bias if own else None


def replace_layers(network: Network, chains: Mapping[str, Chain]) -> Network:
    """A network in which each weight of `chains` is a chain; it shares nothing with the old one.

    chains   by the name of the weight, "fc1.weight"; a form that held it goes. Refused where `why_no_chain` says why.
    """
    layers = {layer.weight: layer for layer in network.weighted_layers()}
    for name in chains:
        if name not in layers:
            raise TersenetError(f"the network has no layer with a weight '{name}'; it has {', '.join(layers)}")
        why = why_no_chain(network, layers[name])
        if why is not None:
            raise TersenetError(f"layer '{layers[name].name}' cannot become a chain: {why}")
    renamed, changed = _declared(network, chains, layers)
    graph = network.graph
    numbers = {number: number for number in range(len(graph.inputs))}
    nodes: list[Node] = []
    used = len(graph.inputs)
    for position, node in enumerate(graph.nodes):
        first, made = graph.first_value(position), renumbered(node, numbers)
        weight = node.arguments.get("weight")
        if isinstance(weight, Parameter) and weight.name in chains:
            links = _links(made, chains[weight.name], renamed[weight.name], renamed, used)
            nodes += links
            used += len(links)
            numbers[first] = used - 1
            continue
        nodes.append(made)
        outputs = OPS[node.op].outputs
        numbers.update((first + offset, used + offset) for offset in range(outputs))
        used += outputs
    return rebuilt(network, _graph(network, nodes, numbers, renamed), changed)


def _links(node: Node, chain: Chain, names: list[str], renamed: Mapping[str, list[str]], used: int) -> list[Node]:
    """The nodes in place of one; `used` values come before them."""
    source, bias = node.arguments["input"], node.get("bias")
    made = []
    for number, name in enumerate(names):
        arguments: dict[str, Any] = {"input": source, "weight": Parameter(name)}
        if number == chain.spatial and node.op != "linear":
            arguments |= {what: node.get(what) for what in ("stride", "padding", "dilation")}
        if number == len(names) - 1 and bias is not None:
            arguments["bias"] = (
                Parameter(renamed.get(bias.name, [bias.name])[0]) if isinstance(bias, Parameter) else bias
            )
        made.append(make_node(node.op, **arguments))
        source = Value(used + number)
    return made


def _declared(
    network: Network, chains: Mapping[str, Chain], layers: Mapping[str, WeightedLayer]
) -> tuple[dict[str, list[str]], dict[str, Tensor]]:
    """What stands for each tensor that leaves, by its name, and the values of what is new."""
    renamed: dict[str, list[str]] = {}
    changed: dict[str, Tensor] = {}
    for name, chain in chains.items():
        layer, old = layers[name], network.dense(name)
        stem = _free(network.graph, layer.name, len(chain.weights))
        renamed[name] = [f"{stem}.{number}.weight" for number in range(len(chain.weights))]
        changed |= {link: weight.to(old) for link, weight in zip(renamed[name], chain.weights)}
        bias = own_bias(network, layer)
        if chain.bias_change is not None and bias is None:
            raise TersenetError(f"layer '{layer.name}' has no bias of its own that could change")
        if bias is not None:
            value = network.dense(bias)
            renamed[bias] = [f"{stem}.{len(chain.weights) - 1}.bias"]
            changed[renamed[bias][0]] = value if chain.bias_change is None else value + chain.bias_change.to(value)
    return renamed, changed


def _free(graph: Graph, stem: str, links: int) -> str:
    """A name under which children 0, 1 and so on are not taken."""
    taken = {".".join(name.split(".")[:parts]) for name in graph.parameters for parts in range(1, name.count(".") + 2)}
    while any(f"{stem}.{number}" in taken for number in range(links)):
        stem += "_"
    return stem


def _graph(network: Network, nodes: list[Node], numbers: Mapping[int, int], renamed: Mapping[str, list[str]]) -> Graph:
    """The graph of the new nodes; what is new stands in the file where the old tensor stood."""
    graph = network.graph
    parameters = {made: dtype for name, dtype in graph.parameters.items() for made in renamed.get(name, [name])}
    return replace(
        graph,
        nodes=tuple(nodes),
        outputs=tuple(Value(numbers[output.number]) for output in graph.outputs),
        parameters=parameters,
        buffers=graph.buffers & set(parameters),
    )
