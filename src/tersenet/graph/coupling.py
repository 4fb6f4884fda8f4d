"""Which channels must go together: units, followed through the op list.

READ FIRST
  1. A unit is the smallest thing that can be removed. Each output channel of a weighted layer starts as its
     own unit; sums, products and concatenations of channels make units of several layers one.
  2. Every value has at most one axis of units, its `Track`: one unit per position. What an operation does not
     let through is pinned, with the reason; a pinned unit cannot be removed.
  3. Every stored tensor has units on the axes that follow: rows of a weight, columns of the next one,
     BatchNorm's four vectors. Removing a unit removes its positions from all of these.

Coupling by equal indices is that of Fang et al. 2023, DepGraph, arXiv:2301.12900, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersenet.graph.coupling_rules import RULES
from tersenet.graph.network import WEIGHTED, Network
from tersenet.graph.shapes import value_shapes
from tersenet.graph.units import Track, Units, UnitSets
from tersenet.ir import OPS, Node, Parameter, Value


@dataclass(frozen=True)
class Reader:
    """A place where units end: the input axis of a weight."""

    index: int
    weight: str
    axis: int
    units: Units


ELEMENTWISE_ONE = frozenset(
    (
        "relu",
        "hardtanh",
        "relu6",
        "sigmoid",
        "tanh",
        "gelu",
        "silu",
        "hardswish",
        "hardsigmoid",
        "leaky_relu",
        "elu",
        "softplus",
        "mish",
        "dropout",
        "feature_dropout",
        "add_scalar",
        "sub_scalar",
        "mul_scalar",
        "div_scalar",
        "rsub_scalar",
        "neg",
        "abs",
        "pow_scalar",
        "sqrt",
        "rsqrt",
        "exp",
        "log",
        "sin",
        "cos",
        "clamp",
        "to_float",
    )
)
ELEMENTWISE_MANY = frozenset(["add", "sub", "mul", "div", "maximum", "minimum", "where", "masked_fill"])


class Coupling(UnitSets):
    """The analysis of one network.

    tracks    value -> Track or nothing
    tensors   (stored tensor, axis) -> units
    layers    weighted layer -> units of its output channels
    readers   where units end
    pinned    unit -> why it cannot go (ask with `why_pinned`)
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.shapes = value_shapes(network)
        self.tensors: dict[tuple[str, int], Units] = {}
        self.layers: dict[str, Units] = {}
        self.readers: list[Reader] = []
        self.tracks: list[Track | None] = [None] * len(self.shapes)
        output = len(network.graph.inputs)
        for index, node in enumerate(network.graph.nodes):
            for offset, track in enumerate(self._follow(index, node, output)):
                self.tracks[output + offset] = track
            output += OPS[node.op].outputs
        for value, name in zip(network.graph.outputs, network.graph.output_names):
            self.pin_track(self.tracks[value.number], f"it reaches the network's output '{name}'")
        for name, form in network.forms().items():
            for (tensor, _), units in list(self.tensors.items()):
                if tensor == name:
                    self.pin(units, f"weight '{name}' is stored as {type(form).__name__}; detach it first")

    def pin_track(self, track: Track | None, why: str) -> None:
        if track is not None:
            self.pin(track.units, why)

    def mark(self, name: str, axis: int, units: Units) -> None:
        """Units on an axis of a stored tensor; where it had some from another use, they become one."""
        known = self.tensors.setdefault((name, axis), units)
        if known is not units:
            self.join(known, units)

    # Following

    def track(self, given: Value | Parameter | None) -> Track | None:
        return self.tracks[given.number] if isinstance(given, Value) else None

    def shape(self, given: Value | Parameter) -> tuple[int, ...]:
        if isinstance(given, Value):
            return self.shapes[given.number]
        return tuple(self.network.dense(given.name).shape)

    def _follow(self, index: int, node: Node, output: int) -> list[Track | None]:
        nothing: list[Track | None] = [None] * OPS[node.op].outputs
        if node.op in WEIGHTED:
            return [self._weighted(index, node, output)]
        tensors = node.tensors()
        if node.op not in ELEMENTWISE_MANY and not any(self.track(one) for one in tensors):
            return nothing
        if node.op in ELEMENTWISE_ONE:
            return [self.track(tensors[0])]
        if node.op in ELEMENTWISE_MANY:
            return [self._elementwise(index, node, output)]
        rule = RULES.get(node.op)
        found = rule(self, index, node, output) if rule is not None else None
        if found is None:
            for one in tensors:
                self.pin_track(self.track(one), f"node {index} ({node.op}) mixes or rearranges channels")
            return nothing
        return [found, *nothing[1:]] if node.op != "adaptive_max_pool2d" else [found, found]

    def _weighted(self, index: int, node: Node, output: int) -> Track | None:
        weight, bias = node.arguments["weight"], node.arguments.get("bias")
        source = node.arguments["indices" if node.op == "embedding" else "input"]
        track = self.track(source)
        if not isinstance(weight, Parameter) or isinstance(bias, Value):
            for one in node.tensors():
                self.pin_track(self.track(one), f"node {index} ({node.op}) computes its weight")
            return None
        rank = len(self.shapes[output])
        sizes = self.shape(weight)
        groups = node.get("groups") if node.op.startswith("conv") else 1
        out_axis, in_axis = (1, 0) if node.op in ("conv_transpose2d", "embedding") else (0, 1)
        axis = 1 if node.op.startswith("conv") else rank - 1
        name = weight.name.removesuffix(".weight")
        if groups > 1:
            return self._grouped(index, node, track, axis, groups, name)
        units = self.tensors.get((weight.name, out_axis))
        if units is None:
            units = self.fresh(sizes[out_axis])
            self.mark(weight.name, out_axis, units)
        if isinstance(bias, Parameter):
            self.mark(bias.name, 0, units)
        if node.op != "embedding":
            self._read(index, node, track, axis if node.op != "linear" else len(self.shape(source)) - 1, in_axis)
        self.layers.setdefault(name, units)
        return Track(axis, units)

    def _read(self, index: int, node: Node, track: Track | None, axis: int, in_axis: int) -> None:
        """The input axis of a weight takes the units of what it reads; the network's own inputs are fixed."""
        weight = node.arguments["weight"].name
        if track is not None and track.axis != axis:
            self.pin_track(track, f"node {index} ({node.op}) reads channels that lie on axis {track.axis}")
            track = None
        if track is None:
            units = self.fresh(self.network.dense(weight).shape[in_axis])
            self.pin(units, f"'{weight}' reads what has no channels of a layer")
        else:
            units = track.units
        self.mark(weight, in_axis, units)
        self.readers.append(Reader(index, weight, in_axis, units))

    def _grouped(self, index: int, node: Node, track: Track | None, axis: int, groups: int, name: str) -> Track | None:
        """Depthwise: an input channel takes its outputs with it. Other groups are fixed."""
        weight, bias = node.arguments["weight"], node.arguments.get("bias")
        sizes = self.shape(weight)
        depthwise = node.op != "conv_transpose2d" and sizes[1] == 1 and track is not None and track.axis == axis
        if not depthwise:
            why = f"node {index} ({node.op}) has {groups} groups, which must stay equally large"
            self.pin_track(track, why)
            out = sizes[0] if node.op != "conv_transpose2d" else sizes[1] * groups
            units = self.fresh(out)
            self.pin(units, why)
            self.layers.setdefault(name, units)
            return Track(axis, units)
        assert track is not None
        units = np.repeat(track.units, sizes[0] // groups)
        self.mark(weight.name, 0, units)
        if isinstance(bias, Parameter):
            self.mark(bias.name, 0, units)
        self.layers.setdefault(name, units)
        return Track(axis, units)

    def _elementwise(self, index: int, node: Node, output: int) -> Track | None:
        """Equal positions become one unit; a stored tensor takes units along the same axis from the right."""
        tensors, rank = node.tensors(), len(self.shapes[output])
        placed = [
            (one, track, track.axis - len(self.shape(one)) + rank) for one in tensors if (track := self.track(one))
        ]
        # An axis of one channel that is spread over more is no longer that channel.
        for _, track, axis in placed:
            if len(track.units) != self.shapes[output][axis]:
                self.pin(track.units, f"node {index} ({node.op}) spreads one channel over many")
        placed = [one for one in placed if len(one[1].units) == self.shapes[output][one[2]]]
        if not placed:
            return None
        axis, units = placed[0][2], placed[0][1].units
        for one in tensors:
            other = self.track(one)
            at = axis - rank + len(self.shape(one))
            if at < 0 or self.shape(one)[at] == 1:
                if other is not None and len(other.units) != 1:
                    self._pin_both(units, other.units, index, node)
                continue
            if isinstance(one, Parameter):
                self.mark(one.name, at, units)
            elif other is not None and other.axis == at:
                self.join(units, other.units)
            else:
                self.pin(units, f"node {index} ({node.op}) combines channels with what has none")
                self.pin_track(other, f"node {index} ({node.op}) combines channels on different axes")
        return Track(axis, units)

    def _pin_both(self, units: Units, others: Units, index: int, node: Node) -> None:
        for one in (units, others):
            self.pin(one, f"node {index} ({node.op}) combines channels on different axes")

    def source(self, node: Node) -> tuple[Value, Track]:
        """The one value with units."""
        given = next(one for one in node.tensors() if self.track(one) is not None)
        track = self.track(given)
        assert isinstance(given, Value) and track is not None
        return given, track
