"""Parts of a network that leave because the rest fits together without them: whole layers and residual branches.

READ FIRST
  1. A value can stand in for another of the same shape; what then reaches no output any more leaves, with its tensors.
  2. A candidate is a sum whose one side stands in for the sum (the other side, a residual branch, leaves), or a layer,
     with the normalisation and the activation behind it, whose input stands in for its output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from types import MappingProxyType

from tersenet.graph._translate import renumbered
from tersenet.graph.network import WEIGHTED, Network
from tersenet.graph.rebuild import rebuilt
from tersenet.graph.shapes import value_shapes
from tersenet.ir import OPS, Graph, Node, Parameter, Value
from tersenet.ir.ops import ELEMENTWISE_ONE

THROUGH = ELEMENTWISE_ONE | {"batch_norm", "prelu"}


@dataclass(frozen=True)
class Bypass:
    """A part that can leave.

    layers   its weighted layers, in forward order; never all of the network's
    value    the number of the value that it computes
    source   the number of the value that stands in for it
    """

    layers: tuple[str, ...]
    value: int
    source: int

    @property
    def name(self) -> str:
        """What the names of its layers begin with, "layer1.2"; the names themselves where that is nothing."""
        words = zip(*(layer.split(".") for layer in self.layers))
        shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, words)]
        return ".".join(shared) or ", ".join(self.layers)


def bypasses(network: Network) -> list[Bypass]:
    """The parts that can leave, each alone, in forward order. A branch that is one layer leaves as a branch."""
    graph, shapes = network.graph, value_shapes(network)
    layers = {layer.index: layer.name for layer in network.weighted_layers()}
    used = {layers[index] for index in _live(graph) if index in layers}
    found: dict[tuple[str, ...], Bypass] = {}
    for value, source in _pairs(graph):
        if shapes[value] != shapes[source]:
            continue
        kept = {layers[index] for index in _live(graph, {value: source}) if index in layers}
        gone = tuple(dict.fromkeys(name for name in layers.values() if name in used - kept))
        if gone and kept and gone not in found:
            found[gone] = Bypass(gone, value, source)
    return sorted(found.values(), key=lambda part: part.value)


def bypass(network: Network, part: Bypass) -> Network:
    """A network without the part: `source` is read wherever `value` was, and what nobody reads any more leaves.

    Equal to the old network where the part computes nothing but its source: a branch that adds zeros.
    """
    graph, stand_ins = network.graph, {part.value: part.source}
    live = _live(graph, stand_ins)
    numbers = {number: number for number in range(len(graph.inputs))}
    nodes = []
    used = number = len(graph.inputs)
    for index, node in enumerate(graph.nodes):
        outputs = OPS[node.op].outputs
        if index in live:
            nodes.append(renumbered(node, numbers))
            numbers.update((number + offset, used + offset) for offset in range(outputs))
            used += outputs
        if part.value in range(number, number + outputs):
            numbers[part.value] = numbers[part.source]
        number += outputs
    read = {one.name for node in nodes for one in node.tensors() if isinstance(one, Parameter)}
    smaller = replace(
        graph,
        nodes=tuple(nodes),
        outputs=tuple(Value(numbers[output.number]) for output in graph.outputs),
        parameters={name: dtype for name, dtype in graph.parameters.items() if name in read},
        buffers=graph.buffers & read,
    )
    return rebuilt(network, smaller, {})


def _pairs(graph: Graph) -> Iterator[tuple[int, int]]:
    """(value, what may stand in for it): sums first, since a layer that is a whole branch adds its input otherwise."""
    for index, node in enumerate(graph.nodes):
        given = _values(node)
        if node.op == "add" and len(given) == 2 and node.get("alpha") == 1:
            yield from ((graph.first_value(index), source) for source in given)
    for index, node in enumerate(graph.nodes):
        if node.op in WEIGHTED and (given := _values(node)):
            yield from ((value, given[0]) for value in reversed(_outlets(graph, index)))


def _outlets(graph: Graph, index: int) -> list[int]:
    """What a layer computes, as it is and behind each normalisation and activation that only it goes through."""
    ends = [graph.first_value(index)]
    while Value(ends[-1]) not in graph.outputs:
        readers = [one for one, node in enumerate(graph.nodes) if Value(ends[-1]) in node.tensors()]
        if len(readers) != 1 or not _goes_through(graph.nodes[readers[0]]):
            break
        ends.append(graph.first_value(readers[0]))
    return ends


def _goes_through(node: Node) -> bool:
    return node.op in THROUGH or (node.op in ("mul", "add") and len(_values(node)) == 1)


def _values(node: Node) -> list[int]:
    return [one.number for one in node.tensors() if isinstance(one, Value)]


def _live(graph: Graph, stand_ins: Mapping[int, int] = MappingProxyType({})) -> set[int]:
    """Positions of the nodes that an output depends on, where values may have stand-ins."""
    makers = [None] * len(graph.inputs) + [
        index for index, node in enumerate(graph.nodes) for _ in range(OPS[node.op].outputs)
    ]
    live: set[int] = set()
    ahead = [output.number for output in graph.outputs]
    while ahead:
        number = ahead.pop()
        index = makers[stand_ins.get(number, number)]
        if index is not None and index not in live:
            live.add(index)
            ahead += _values(graph.nodes[index])
    return live
