"""What layers read, rounded to an even grid: one more operation, `fake_quantize`, in front of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tersenet.graph._translate import renumbered
from tersenet.graph.network import Network
from tersenet.graph.rebuild import rebuilt
from tersenet.ir import OPS, Node, Value, make_node

ROUNDS = "fake_quantize"


@dataclass(frozen=True)
class Grid:
    """The multiples of `scale` from `low` to `high`, 0 among them; what lies beyond goes to the ends."""

    scale: float
    low: int
    high: int


def read_value(network: Network, position: int) -> int | None:
    """The number of the value that the layer at this position multiplies; None where it is stored."""
    given = network.graph.nodes[position].arguments["input"]
    return given.number if isinstance(given, Value) else None


def maker(network: Network, number: int) -> Node | None:
    """The operation that gives a value; None for an input."""
    graph = network.graph
    for position, node in enumerate(graph.nodes):
        first = graph.first_value(position)
        if first <= number < first + OPS[node.op].outputs:
            return node
    return None


def round_inputs(network: Network, grids: Mapping[int, Grid]) -> Network:
    """A network whose layers at these positions read their inputs rounded; it shares nothing with the old one.

    Layers that read one value to one grid share the operation. What else reads the value reads it as it was.
    """
    graph = network.graph
    numbers = {number: number for number in range(len(graph.inputs))}
    nodes: list[Node] = []
    used = len(graph.inputs)
    rounded: dict[tuple[int, Grid], int] = {}
    for position, node in enumerate(graph.nodes):
        first, made, grid = graph.first_value(position), renumbered(node, numbers), grids.get(position)
        source = read_value(network, position) if grid is not None else None
        if grid is not None and source is not None:
            if (source, grid) not in rounded:
                ends = {"quant_min": grid.low, "quant_max": grid.high}
                nodes.append(make_node(ROUNDS, self=Value(numbers[source]), scale=grid.scale, zero_point=0, **ends))
                rounded[source, grid] = used
                used += 1
            made = Node(made.op, made.arguments | {"input": Value(rounded[source, grid])})
        nodes.append(made)
        outputs = OPS[node.op].outputs
        numbers.update((first + offset, used + offset) for offset in range(outputs))
        used += outputs
    outputs_now = tuple(Value(numbers[output.number]) for output in graph.outputs)
    return rebuilt(network, replace(graph, nodes=tuple(nodes), outputs=outputs_now), {})
