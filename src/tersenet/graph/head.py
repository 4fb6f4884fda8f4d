"""The fully connected head of a network of pictures, and the one in its place that takes pictures of any size.

READ FIRST
  1. The head is what lies between the last maps of convolutions, a value of shape (batch, channels, height, width),
     and the last fully connected layer: a chain in which each value has one reader. What follows that layer stays.
  2. Its place is taken by a 1x1 convolution to one map a class and the means of these maps (Lin et al. 2014,
     arXiv:1312.4400, section 3.2), which are of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph._translate import renumbered
from tersenet.graph.network import Network
from tersenet.graph.rebuild import rebuilt
from tersenet.graph.shapes import value_shapes
from tersenet.ir import OPS, Graph, Node, Parameter, Value, make_node
from tersenet.ir.ops import ELEMENTWISE_ONE
from tersenet.ir.sizes import convolved_maps, is_global, name_of

# What a fully connected head may have beside its layers, and what may follow the last of them.
BETWEEN = ELEMENTWISE_ONE | {
    "batch_norm",
    "layer_norm",
    "prelu",
    "flatten",
    "reshape",
    "squeeze",
    "adaptive_avg_pool2d",
}
BEHIND = ELEMENTWISE_ONE | {"softmax", "log_softmax"}
ANSWERS_DIMS = 2


@dataclass(frozen=True)
class DenseHead:
    """Where a fully connected head begins and ends.

    layers    its fully connected layers, in forward order
    nodes     the positions of its nodes
    maps      the number of the value that it reads
    channels  of the maps
    answers   the number of the value that it gives, of shape (batch, classes)
    classes   how many numbers it gives for an example
    """

    layers: tuple[str, ...]
    nodes: frozenset[int]
    maps: int
    channels: int
    answers: int
    classes: int


def dense_head(network: Network) -> DenseHead:
    """The fully connected head. Refused where the network does not end in one that reads maps of convolutions."""
    graph, shapes = network.graph, value_shapes(network)
    if len(graph.outputs) != 1:
        raise TersenetError(
            f"the network has {len(graph.outputs)} outputs ({', '.join(graph.output_names)}); a head can be replaced "
            "where there is one"
        )
    makers = _makers(graph)
    number = graph.outputs[0].number
    while (last := makers[number]) is not None and graph.nodes[last].op in BEHIND:
        number = _source(graph, last, number)
    layers = {layer.index: layer.name for layer in network.weighted_layers()}
    if last is None or graph.nodes[last].op != "linear" or len(shapes[number]) != ANSWERS_DIMS:
        ends = "its input" if last is None else f"{_named(graph, last)}, which gives {_plain(shapes[number])}"
        raise TersenetError(
            f"the network ends in {ends}, not in a fully connected layer that gives (batch, classes): it has no head "
            "to replace"
        )
    answers, nodes, maps = number, list[int](), convolved_maps(graph)
    while number not in maps:
        position = makers[number]
        if position is None:
            raise TersenetError("the network is fully connected from its input on; there are no maps to be pooled")
        node = graph.nodes[position]
        if is_global(node):
            raise TersenetError(
                f"the head pools its maps globally already ({_named(graph, position)}); there is nothing to replace"
            )
        if node.op not in BETWEEN and not (node.op == "linear" and position in layers):
            raise TersenetError(
                f"the head is not fully connected: {_named(graph, position)} lies between the last maps and its end"
            )
        nodes.append(position)
        number = _source(graph, position, number)
    return DenseHead(
        layers=tuple(layers[position] for position in sorted(nodes) if position in layers),
        nodes=frozenset(nodes),
        maps=number,
        channels=shapes[number][1],
        answers=answers,
        classes=shapes[answers][1],
    )


Affine = tuple[Float[Tensor, "out in"], Float[Tensor, " out"]]
"""The weight and the bias of a 1x1 convolution."""


def pooled_head(network: Network, head: DenseHead, last: Affine, hidden: Affine | None = None) -> Network:
    """A network with a 1x1 convolution, `gap`, and global average pooling in place of its head.

    It answers the weight of `last` times the mean of each channel, plus its bias. With `hidden` the channels are those
    of a further 1x1 convolution, `gap.hidden`, and a ReLU. Reshapes before the head that only add an axis of one say so
    without sizes, so that other heights and widths run where nothing else names them.
    """
    graph, shapes = network.graph, value_shapes(network)
    numbers = {number: number for number in range(len(graph.inputs))}
    nodes: list[Node] = []
    used = len(graph.inputs)

    def add(node: Node) -> int:
        nonlocal used
        nodes.append(node)
        used += OPS[node.op].outputs
        return used - OPS[node.op].outputs

    layer = _free_name(graph, "gap")
    made_layers = {f"{layer}.hidden": hidden, layer: last} if hidden is not None else {layer: last}
    for position, node in enumerate(graph.nodes):
        first = graph.first_value(position)
        if first == head.answers:
            maps = numbers[head.maps]
            for name in made_layers:
                stored = {leaf: Parameter(f"{name}.{leaf}") for leaf in ("weight", "bias")}
                maps = add(make_node("conv2d", input=Value(maps), **stored))
                maps = maps if name == layer else add(make_node("relu", self=Value(maps)))
            pooled = add(make_node("adaptive_avg_pool2d", self=Value(maps), output_size=(1, 1)))
            numbers[first] = add(make_node("flatten", self=Value(pooled)))
        elif position not in head.nodes:
            made = add(renumbered(_without_sizes(node, shapes, first), numbers))
            numbers |= {first + offset: made + offset for offset in range(OPS[node.op].outputs)}
    read = {one.name for node in nodes for one in node.tensors() if isinstance(one, Parameter)}
    declared = {name: dtype for name, dtype in graph.parameters.items() if name in read}
    dtype = graph.parameters[f"{head.layers[-1]}.weight"]
    changed: dict[str, Tensor] = {}
    for name, (weight, bias) in made_layers.items():
        changed |= {f"{name}.weight": weight[:, :, None, None], f"{name}.bias": bias}
    smaller = replace(
        graph,
        nodes=tuple(nodes),
        outputs=tuple(Value(numbers[output.number]) for output in graph.outputs),
        parameters=declared | dict.fromkeys(changed, dtype),
        buffers=graph.buffers & read,
    )
    return rebuilt(network, smaller, changed)


def _without_sizes(node: Node, shapes: tuple[tuple[int, ...], ...], made: int) -> Node:
    """A reshape that adds one axis of one as `unsqueeze`."""
    if node.op != "reshape" or not isinstance(node.arguments["self"], Value):
        return node
    before, after = shapes[node.arguments["self"].number], shapes[made]
    for dim, size in enumerate(after):
        if size == 1 and after[:dim] + after[dim + 1 :] == before:
            return make_node("unsqueeze", self=node.arguments["self"], dim=dim)
    return node


def _makers(graph: Graph) -> list[int | None]:
    """The position of the node that makes each value; None for inputs."""
    made = [position for position, node in enumerate(graph.nodes) for _ in range(OPS[node.op].outputs)]
    return [None] * len(graph.inputs) + made


def _source(graph: Graph, position: int, made: int) -> int:
    """The one value that a node of the chain reads; refused where another node reads what it makes."""
    readers = sum(Value(made) in node.tensors() for node in graph.nodes)
    if readers + (Value(made) in graph.outputs) != 1:
        raise TersenetError(
            f"what {_named(graph, position)} makes is read {readers} times, so the head is no chain of layers that "
            "could leave"
        )
    given = [one.number for one in graph.nodes[position].tensors() if isinstance(one, Value)]
    if len(given) != 1:
        raise TersenetError(f"{_named(graph, position)} reads {len(given)} values, so the head is no chain of layers")
    return given[0]


def _free_name(graph: Graph, name: str) -> str:
    while any(one == name or one.startswith(f"{name}.") for one in graph.parameters):
        name += "_"
    return name


def _named(graph: Graph, position: int) -> str:
    return f"{name_of(graph.nodes[position])} (operation {position})"


def _plain(shape: tuple[int, ...]) -> str:
    return f"(batch, {', '.join(map(str, shape[1:]))})"
