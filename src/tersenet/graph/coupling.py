"""Which channels must go together: units, followed through the op list.

READ FIRST
  1. A unit is the smallest thing that can be removed. Each output channel of a weighted layer starts as its
     own unit; sums, products and concatenations of channels make units of several layers one.
  2. A value has units along some of its axes, its `Track`. Splitting an axis (into heads, into groups) gives
     several; whatever needs whole blocks along one joins the rest, and in the end each value has units on one
     axis. What an operation does not let through is pinned, with the reason; a pinned unit cannot be removed.
  3. Every stored tensor has units on the axes that follow: rows of a weight, columns of the next one,
     BatchNorm's four vectors. Removing a unit removes its positions from all of these.
  4. A unit that is not pinned can be removed alone; of several, an axis may be left with none, which
     `remove_channels` refuses.

Coupling by equal indices is that of Fang et al. 2023, DepGraph, arXiv:2301.12900, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tersenet.graph.coupling_rules import ENDS, REASONS, RULES, one_example
from tersenet.graph.network import WEIGHTED, Network
from tersenet.graph.shapes import value_shapes
from tersenet.graph.units import Track, Units, UnitSets
from tersenet.ir import OPS, Node, Parameter, Value
from tersenet.ir.ops import ELEMENTWISE_ONE


@dataclass(frozen=True)
class Reader:
    """A place where units end: the input axis of a weight."""

    index: int
    weight: str
    axis: int
    units: Units


ELEMENTWISE_MANY = frozenset(["add", "sub", "mul", "div", "maximum", "minimum", "where", "masked_fill"])
# Operations whose rule follows several tensors; of any other, one may have units.
RULES_OF_MANY = frozenset(["cat", "stack", "scaled_dot_product_attention", "matmul", "lstm_cell"])


@dataclass(frozen=True)
class Operand:
    """What is broadcast against others: its shape, its units, and its name where it is stored."""

    shape: tuple[int, ...]
    track: Track | None
    name: str | None = None


class Coupling(UnitSets):
    """The analysis of one network.

    tracks    value -> Track of one axis, or nothing
    tensors   (stored tensor, axis) -> units
    layers    weighted layer -> units of its output channels
    readers   where units end: the input axis of a weight
    ends      units that end in an operation without a weight
    rigid     (value, axis) that is read position by position, so that it cannot be the one that loses some
    pinned    unit -> why it cannot go (ask with `why_pinned`)
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.shapes = value_shapes(network)
        self.tensors: dict[tuple[str, int], Units] = {}
        self.layers: dict[str, Units] = {}
        self.readers: list[Reader] = []
        self.ends: list[Units] = []
        self.rigid: set[tuple[int, int]] = set()
        self.tracks: list[Track | None] = [None] * len(self.shapes)
        output = len(network.graph.inputs)
        for index, node in enumerate(network.graph.nodes):
            for offset, track in enumerate(self._follow(index, node, output)):
                self.tracks[output + offset] = track
            output += OPS[node.op].outputs
        for number, track in enumerate(self.tracks):
            if track is not None and len(track.axes) > 1:
                self.tracks[number] = self._on_one_axis(number, track)
        self._pin_what_must_stay()

    def _on_one_axis(self, number: int, track: Track) -> Track | None:
        """The axis along which all that has been joined is whole; where none is, the longest."""
        free = [axis for axis in track.axes if (number, axis) not in self.rigid]
        if not free:
            self.pin(track.units, "it is read by its number")
        roots = self.roots(track.units)
        whole = [axis for axis in free if self._is_whole(np.moveaxis(roots, track.axes.index(axis), 0))]
        return self.only(track, whole[0] if whole else max(free or track.axes, key=track.size))

    @staticmethod
    def _is_whole(roots: Units) -> bool:
        blocks = roots.reshape(len(roots), -1)
        return bool((blocks == blocks[:, :1]).all())

    def _pin_what_must_stay(self) -> None:
        graph = self.network.graph
        for value, name in zip(graph.outputs, graph.output_names):
            self.pin_track(self.tracks[value.number], f"it reaches the network's output '{name}'")
        for name, form in self.network.forms().items():
            for (tensor, _), units in list(self.tensors.items()):
                if tensor == name:
                    self.pin(units, f"weight '{name}' is stored as {type(form).__name__}; detach it first")
        for (name, _), units in self.tensors.items():
            self._pin_alone(units, f"nothing would be left of '{name}'")
        for index, node in enumerate(graph.nodes):
            track = self.tracks[graph.first_value(index)]
            if track is not None:
                self._pin_alone(track.units, f"node {index} ({node.op}) would have no channel left")

    def _pin_alone(self, units: Units, why: str) -> None:
        roots = self.roots(units)
        if roots.size and (roots == roots[0]).all():
            self.pin(roots[:1], why)

    def pin_track(self, track: Track | None, why: str) -> None:
        if track is not None:
            self.pin(track.units, why)

    def mark(self, name: str, axis: int, units: Units) -> None:
        """Units on an axis of a stored tensor; where it had some from another use, they become one."""
        known = self.tensors.setdefault((name, axis), units)
        if known is not units:
            self.join(known, units)

    def read(self, index: int, weight: str, axis: int, units: Units) -> None:
        """Units end at the input axis of a weight."""
        self.mark(weight, axis, units)
        self.readers.append(Reader(index, weight, axis, units))

    # Following

    def track(self, given: Value | Parameter | None) -> Track | None:
        return self.tracks[given.number] if isinstance(given, Value) else None

    def shape(self, given: Value | Parameter) -> tuple[int, ...]:
        if isinstance(given, Value):
            return self.shapes[given.number]
        return tuple(self.network.dense(given.name).shape)

    def operand(self, given: Value | Parameter) -> Operand:
        return Operand(self.shape(given), self.track(given), given.name if isinstance(given, Parameter) else None)

    def source(self, node: Node) -> tuple[Value, Track]:
        """The one value with units."""
        given = next(one for one in node.tensors() if self.track(one) is not None)
        track = self.track(given)
        assert isinstance(given, Value) and track is not None
        return given, track

    def _follow(self, index: int, node: Node, output: int) -> list[Track | None]:
        nothing: list[Track | None] = [None] * OPS[node.op].outputs
        if node.op in WEIGHTED:
            return [self._weighted(index, node, output)]
        tensors = node.tensors()
        tracked = [track for one in tensors if (track := self.track(one)) is not None]
        if not tracked:
            return nothing
        if node.op in ELEMENTWISE_ONE:
            return [self.track(tensors[0])]
        if node.op in ELEMENTWISE_MANY:
            return [self.together(index, node, output, [self.operand(one) for one in tensors])]
        rule = RULES.get(node.op) if len(tracked) == 1 or node.op in RULES_OF_MANY else None
        found = rule(self, index, node, output) if rule is not None else None
        if found is ENDS:
            return nothing
        if found is None:
            for track in tracked:
                self.pin_track(
                    track, f"node {index} ({node.op}) {REASONS.get(node.op, 'mixes or rearranges channels')}"
                )
            return nothing
        return [found, *nothing[1:]] if node.op != "adaptive_max_pool2d" else [found, found]

    def _weighted(self, index: int, node: Node, output: int) -> Track | None:
        weight, bias = node.arguments["weight"], node.arguments.get("bias")
        if not isinstance(weight, Parameter) or isinstance(bias, Value):
            for one in node.tensors():
                self.pin_track(self.track(one), f"node {index} ({node.op}) computes its weight")
            return None
        sizes, axis = self.shape(weight), 1 if node.op.startswith("conv") else len(self.shapes[output]) - 1
        if node.op == "embedding":
            rows = self.fresh(sizes[0])
            self.pin(rows, f"rows of '{weight.name}' are looked up by their number")
            self.mark(weight.name, 0, rows)
            units = self._made(weight.name, 1, sizes[1])
        elif node.op == "conv_transpose2d":
            units = self._transposed(index, node, sizes)
        else:
            units = self._ordinary(index, node, sizes)
        if isinstance(bias, Parameter):
            self.mark(bias.name, 0, units)
        self.layers.setdefault(weight.name.removesuffix(".weight"), units)
        return Track((axis,), units)

    def _ordinary(self, index: int, node: Node, sizes: tuple[int, ...]) -> Units:
        """A weight (out, in / groups, ...). Of groups the same position leaves all, so that they stay equally large;
        where a group reads one channel, the channel takes its outputs with it.
        """
        weight, groups = node.arguments["weight"].name, node.get("groups") if node.op != "linear" else 1
        given = self._given(index, node, sizes[1] * groups)
        if groups > 1 and sizes[1] == 1:
            units = np.repeat(given, sizes[0] // groups)
            self.mark(weight, 0, units)
            return units
        self.read(index, weight, 1, self._alike(given, groups))
        return self._made(weight, 0, sizes[0], groups)

    def _transposed(self, index: int, node: Node, sizes: tuple[int, ...]) -> Units:
        """A weight (in, out / groups, ...), groups as in `_ordinary`."""
        weight, groups = node.arguments["weight"].name, node.get("groups")
        given = self._given(index, node, sizes[0])
        if groups > 1 and sizes[0] == groups:
            self.mark(weight, 0, given)
            return np.repeat(given, sizes[1])
        self._alike(given, groups)
        self.read(index, weight, 0, given)
        return np.tile(self._made(weight, 1, sizes[1]), groups)

    def _given(self, index: int, node: Node, count: int) -> Units:
        """The units of the channels that a weight reads; the network's own inputs are fixed."""
        source = node.arguments["input"]
        axis = 1 if node.op != "linear" else len(self.shape(source)) - 1
        track = self.track(source)
        single = self.only(track, axis)
        if single is not None:
            return single.units
        if track is not None:
            self.pin_track(track, f"node {index} ({node.op}) reads along axis {axis}, where its channels do not lie")
        units = self.fresh(count)
        self.pin(units, f"'{node.arguments['weight'].name}' reads what has no channels of a layer")
        return units

    def _alike(self, units: Units, groups: int) -> Units:
        """Equal positions of all groups become one; those of the first group."""
        rows = units.reshape(groups, -1)
        self.join(np.broadcast_to(rows[:1], rows.shape), rows)
        return rows[0]

    def _made(self, weight: str, axis: int, count: int, groups: int = 1) -> Units:
        """The units of the channels that a weight makes, the same at each of its uses."""
        if (weight, axis) not in self.tensors:
            self.mark(weight, axis, np.tile(self.fresh(count // groups), groups))
        return self.tensors[weight, axis]

    def together(self, index: int, node: Node, output: int, operands: Sequence[Operand]) -> Track | None:
        """Operands are broadcast: along the axes on which all can lose channels, equal positions become one. A stored
        tensor takes units along the same axis.
        """
        out = self.shapes[output]
        placed = [track for one in operands if (track := self._placed(index, node, one, out)) is not None]
        if not placed:
            return None
        axes = set.intersection(*(set(track.axes) for track in placed))
        why = "on different axes"
        for one in sorted(operands, key=lambda one: one.name is not None):
            varies = {axis for axis in axes if one.track is None and self._varies(one, axis, len(out))}
            if not varies:
                continue
            if axes > varies or one.name is None:
                axes, why = axes - varies, "with what has none"
            elif len(varies) > 1:
                axes = {max(varies, key=out.__getitem__)}
        if not axes:
            for track in placed:
                self.pin(track.units, f"node {index} ({node.op}) combines channels {why}")
            return None
        shared = [found for track in placed if (found := self.whole(track, set(track.axes) - axes)) is not None]
        for other in shared[1:]:
            self.join(shared[0].units, other.units)
        for one in operands:
            for axis in axes:
                if one.name is not None and self._varies(one, axis, len(out)):
                    self.mark(one.name, axis - len(out) + len(one.shape), shared[0].units)
        return shared[0]

    def _placed(self, index: int, node: Node, one: Operand, out: tuple[int, ...]) -> Track | None:
        """The operand's units on the axes of the output. An axis of one channel that is spread over more is no longer
        that channel.
        """
        if one.track is None:
            return None
        lead = len(out) - len(one.shape)
        track = one.track.moved({axis: axis + lead for axis in one.track.axes})
        found = self.whole(track, [axis for axis in track.axes if track.size(axis) != one_example(out[axis])])
        if found is None:
            self.pin(track.units, f"node {index} ({node.op}) spreads one channel over many")
        return found

    @staticmethod
    def _varies(one: Operand, axis: int, rank: int) -> bool:
        at = axis - rank + len(one.shape)
        return at >= 0 and one.shape[at] != 1
