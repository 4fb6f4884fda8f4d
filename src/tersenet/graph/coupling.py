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

import math
from dataclasses import dataclass

import numpy as np

from tersenet.graph.network import WEIGHTED, Network
from tersenet.graph.shapes import value_shapes
from tersenet.ir import OPS, Node, Parameter, Value

Units = np.ndarray  # of int64, one unit per position


@dataclass(frozen=True)
class Track:
    """The axis of a value that carries units, and the unit at each position."""

    axis: int
    units: Units


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
# Operation -> how many of the last axes it mixes.
_WINDOWS = {
    "max_pool1d": 1,
    "avg_pool1d": 1,
    "adaptive_avg_pool1d": 1,
    "max_pool2d": 2,
    "avg_pool2d": 2,
    "adaptive_avg_pool2d": 2,
    "adaptive_max_pool2d": 2,
    "avg_pool3d": 3,
}


class Coupling:
    """The analysis of one network.

    tracks    value -> Track or nothing
    tensors   (stored tensor, axis) -> units
    layers    weighted layer -> units of its output channels
    readers   where units end
    pinned    unit -> why it cannot go (ask with `why_pinned`)
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes = value_shapes(network)
        self.parent: list[int] = []
        self.pins: dict[int, str] = {}
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
            self._pin_track(self.tracks[value.number], f"it reaches the network's output '{name}'")
        for name, form in network.forms().items():
            for (tensor, _), units in list(self.tensors.items()):
                if tensor == name:
                    self._pin(units, f"weight '{name}' is stored as {type(form).__name__}; detach it first")

    # Units

    def root(self, unit: int) -> int:
        """The unit that stands for all that were made one with it."""
        while self.parent[unit] != unit:
            self.parent[unit] = self.parent[self.parent[unit]]
            unit = self.parent[unit]
        return unit

    def roots(self, units: Units) -> Units:
        return np.array([self.root(int(unit)) for unit in units], dtype=np.int64)

    def why_pinned(self, unit: int) -> str | None:
        return self.pins.get(self.root(unit))

    def _fresh(self, count: int) -> Units:
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _join(self, some: Units, others: Units) -> None:
        for one, other in zip(some, others):
            a, b = self.root(int(one)), self.root(int(other))
            if a != b:
                a, b = min(a, b), max(a, b)
                self.parent[b] = a
                if b in self.pins:
                    self.pins.setdefault(a, self.pins.pop(b))

    def _pin(self, units: Units, why: str) -> None:
        for unit in units:
            self.pins.setdefault(self.root(int(unit)), why)

    def _pin_track(self, track: Track | None, why: str) -> None:
        if track is not None:
            self._pin(track.units, why)

    def _mark(self, name: str, axis: int, units: Units) -> None:
        """Units on an axis of a stored tensor; where it had some from another use, they become one."""
        known = self.tensors.setdefault((name, axis), units)
        if known is not units:
            self._join(known, units)

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
        rule = getattr(self, f"_follow_{node.op}", None)
        if node.op in ELEMENTWISE_ONE:
            return [self.track(tensors[0])]
        if node.op in ELEMENTWISE_MANY:
            return [self._elementwise(index, node, output)]
        if node.op in _WINDOWS:
            rule = self._follow_window
        found = rule(index, node, output) if rule is not None else None
        if found is None:
            for one in tensors:
                self._pin_track(self.track(one), f"node {index} ({node.op}) mixes or rearranges channels")
            return nothing
        return [found, *nothing[1:]] if node.op != "adaptive_max_pool2d" else [found, found]

    def _weighted(self, index: int, node: Node, output: int) -> Track | None:
        weight, bias = node.arguments["weight"], node.arguments.get("bias")
        source = node.arguments["indices" if node.op == "embedding" else "input"]
        track = self.track(source)
        if not isinstance(weight, Parameter) or isinstance(bias, Value):
            for one in node.tensors():
                self._pin_track(self.track(one), f"node {index} ({node.op}) computes its weight")
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
            units = self._fresh(sizes[out_axis])
            self._mark(weight.name, out_axis, units)
        if isinstance(bias, Parameter):
            self._mark(bias.name, 0, units)
        if node.op != "embedding":
            self._read(index, node, track, axis if node.op != "linear" else len(self.shape(source)) - 1, in_axis)
        self.layers.setdefault(name, units)
        return Track(axis, units)

    def _read(self, index: int, node: Node, track: Track | None, axis: int, in_axis: int) -> None:
        """The input axis of a weight takes the units of what it reads; the network's own inputs are fixed."""
        weight = node.arguments["weight"].name
        if track is not None and track.axis != axis:
            self._pin_track(track, f"node {index} ({node.op}) reads channels that lie on axis {track.axis}")
            track = None
        if track is None:
            units = self._fresh(self.network.dense(weight).shape[in_axis])
            self._pin(units, f"'{weight}' reads what has no channels of a layer")
        else:
            units = track.units
        self._mark(weight, in_axis, units)
        self.readers.append(Reader(index, weight, in_axis, units))

    def _grouped(self, index: int, node: Node, track: Track | None, axis: int, groups: int, name: str) -> Track | None:
        """Depthwise: an input channel takes its outputs with it. Other groups are fixed."""
        weight, bias = node.arguments["weight"], node.arguments.get("bias")
        sizes = self.shape(weight)
        depthwise = node.op != "conv_transpose2d" and sizes[1] == 1 and track is not None and track.axis == axis
        if not depthwise:
            why = f"node {index} ({node.op}) has {groups} groups, which must stay equally large"
            self._pin_track(track, why)
            out = sizes[0] if node.op != "conv_transpose2d" else sizes[1] * groups
            units = self._fresh(out)
            self._pin(units, why)
            self.layers.setdefault(name, units)
            return Track(axis, units)
        assert track is not None
        units = np.repeat(track.units, sizes[0] // groups)
        self._mark(weight.name, 0, units)
        if isinstance(bias, Parameter):
            self._mark(bias.name, 0, units)
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
                self._pin(track.units, f"node {index} ({node.op}) spreads one channel over many")
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
                self._mark(one.name, at, units)
            elif other is not None and other.axis == at:
                self._join(units, other.units)
            else:
                self._pin(units, f"node {index} ({node.op}) combines channels with what has none")
                self._pin_track(other, f"node {index} ({node.op}) combines channels on different axes")
        return Track(axis, units)

    def _pin_both(self, units: Units, others: Units, index: int, node: Node) -> None:
        for one in (units, others):
            self._pin(one, f"node {index} ({node.op}) combines channels on different axes")

    def _source(self, node: Node) -> tuple[Value, Track]:
        """The one value with units."""
        given = next(one for one in node.tensors() if self.track(one) is not None)
        track = self.track(given)
        assert isinstance(given, Value) and track is not None
        return given, track

    def _follow_batch_norm(self, index: int, node: Node, output: int) -> Track | None:
        _, track = self._source(node)
        if track.axis != 1:
            return None
        for name in ("weight", "bias", "running_mean", "running_var"):
            given = node.get(name)
            if isinstance(given, Value):
                return None
            if given is not None:
                self._mark(given.name, 0, track.units)
        return track

    def _follow_prelu(self, index: int, node: Node, output: int) -> Track | None:
        _, track = self._source(node)
        weight = node.arguments["weight"]
        if not isinstance(weight, Parameter) or track.axis != 1:
            return None
        if self.shape(weight)[0] > 1:
            self._mark(weight.name, 0, track.units)
        return track

    def _follow_window(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        return track if track.axis < len(self.shape(given)) - _WINDOWS[node.op] else None

    def _follow_softmax(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        return track if node.arguments["dim"] % len(self.shape(given)) != track.axis else None

    _follow_log_softmax = _follow_softmax

    def _follow_layer_norm(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        normalized = len(node.arguments["normalized_shape"])
        return track if track.axis < len(self.shape(given)) - normalized else None

    _follow_rms_norm = _follow_layer_norm

    def _follow_mean(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        rank, dims = len(self.shape(given)), node.get("dim")
        gone = {dim % rank for dim in dims} if dims else set(range(rank))
        if track.axis in gone:
            return None
        return Track(
            track.axis if node.get("keepdim") else track.axis - sum(dim < track.axis for dim in gone),
            track.units,
        )

    _follow_sum = _follow_mean
    _follow_amax = _follow_mean

    def _follow_cat(self, index: int, node: Node, output: int) -> Track | None:
        tensors = node.arguments["tensors"]
        rank = len(self.shapes[output])
        dim = node.get("dim") % rank
        tracks = [self.track(one) for one in tensors]
        axes = {track.axis for track in tracks if track is not None}
        if len(axes) != 1:
            return None
        axis = axes.pop()
        units = []
        for one, track in zip(tensors, tracks):
            if track is not None:
                units.append(track.units)
                continue
            fixed = self._fresh(self.shape(one)[axis])
            if isinstance(one, Parameter):
                self._mark(one.name, axis, fixed)
            else:
                self._pin(fixed, f"node {index} (cat) joins channels with what has none")
            units.append(fixed)
        if dim == axis:
            return Track(axis, np.concatenate(units))
        for other in units[1:]:
            self._join(units[0], other)
        return Track(axis, units[0])

    def _follow_stack(self, index: int, node: Node, output: int) -> Track | None:
        tracks = [self.track(one) for one in node.arguments["tensors"]]
        if any(track is None for track in tracks) or len({track.axis for track in tracks if track}) != 1:
            return None
        units = [track.units for track in tracks if track]
        for other in units[1:]:
            self._join(units[0], other)
        dim, axis = node.get("dim") % len(self.shapes[output]), next(track.axis for track in tracks if track)
        return Track(axis + (dim <= axis), units[0])

    def _follow_flatten(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        shape = self.shape(given)
        start, end = node.get("start_dim") % len(shape), node.get("end_dim") % len(shape)
        if not start <= track.axis <= end:
            return Track(track.axis - (end - start if track.axis > end else 0), track.units)
        if start == 0:
            return None
        before, after = math.prod(shape[start : track.axis]), math.prod(shape[track.axis + 1 : end + 1])
        return Track(start, np.tile(np.repeat(track.units, after), before))

    def _follow_reshape(self, index: int, node: Node, output: int) -> Track | None:
        """The axis stays whole, or swallows what follows it, or its leading factor becomes an axis (heads,
        the channels of a map), with one unit per block.
        """
        given, track = self._source(node)
        old, new = self.shape(given), self.shapes[output]
        if track.axis == 0:
            return None
        before, count = math.prod(old[: track.axis]), len(track.units)
        for axis in range(len(new)):
            if math.prod(new[:axis]) != before or (new[axis] == 1 and count > 1):
                continue
            if new[axis] % count == 0:  # then the totals of what follows agree too
                return Track(axis, np.repeat(track.units, new[axis] // count))
            if count % new[axis]:
                continue
            blocks = track.units.reshape(new[axis], -1)
            rest = blocks.shape[1]
            for column in range(1, rest):
                self._join(blocks[:, 0], blocks[:, column])
            return Track(axis, blocks[:, 0].copy())
        return None

    def _follow_unsqueeze(self, index: int, node: Node, output: int) -> Track | None:
        _, track = self._source(node)
        dim = node.arguments["dim"] % len(self.shapes[output])
        return Track(track.axis + (dim <= track.axis), track.units)

    def _follow_squeeze(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        shape = self.shape(given)
        gone = {dim % len(shape) for dim in node.arguments["dim"]}
        gone = {dim for dim in gone if shape[dim] == 1}
        if track.axis in gone:
            return None
        return Track(track.axis - sum(dim < track.axis for dim in gone), track.units)

    def _follow_permute(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        rank = len(self.shape(given))
        return Track([dim % rank for dim in node.arguments["dims"]].index(track.axis), track.units)

    def _follow_transpose(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        rank = len(self.shape(given))
        first, second = node.arguments["dim0"] % rank, node.arguments["dim1"] % rank
        return Track({first: second, second: first}.get(track.axis, track.axis), track.units)

    def _follow_slice(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        if node.get("dim") % len(self.shape(given)) != track.axis:
            return track
        if node.get("step") != 1:
            return None
        start, end, _ = slice(node.get("start"), node.get("end")).indices(len(track.units))
        return Track(track.axis, track.units[start:end])

    def _follow_select(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        dim = node.arguments["dim"] % len(self.shape(given))
        return None if dim == track.axis else Track(track.axis - (dim < track.axis), track.units)

    def _follow_expand(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        axis = track.axis + len(self.shapes[output]) - len(self.shape(given))
        return Track(axis, track.units) if node.arguments["size"][axis] == -1 else None

    def _follow_pad(self, index: int, node: Node, output: int) -> Track | None:
        """Pads along the channels are channels too: constants that may go with what they are added to."""
        given, track = self._source(node)
        left, right = pads_of(node, track.axis, len(self.shape(given)))
        if left == right == 0:
            return track
        if node.get("mode") != "constant" or left < 0 or right < 0:
            return None
        return Track(track.axis, np.concatenate([self._fresh(left), track.units, self._fresh(right)]))

    def _follow_repeat_interleave(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        if node.get("dim") is None:
            return None
        if node.get("dim") % len(self.shape(given)) != track.axis:
            return track
        return Track(track.axis, np.repeat(track.units, node.arguments["repeats"]))

    def _follow_flip(self, index: int, node: Node, output: int) -> Track | None:
        given, track = self._source(node)
        flipped = track.axis in {dim % len(self.shape(given)) for dim in node.arguments["dims"]}
        return Track(track.axis, track.units[::-1].copy()) if flipped else track

    def _follow_scaled_dot_product_attention(self, index: int, node: Node, output: int) -> Track | None:
        """Whole heads: axis 1 of query, key and value, one unit each."""
        tracks = [self.track(node.arguments[name]) for name in ("query", "key", "value")]
        if node.get("attn_mask") is not None and len(self.shape(node.get("attn_mask"))) > 2:
            return None
        if node.get("enable_gqa") or not all(track is not None and track.axis == 1 for track in tracks):
            return None
        units = [track.units for track in tracks if track is not None]
        if len(self.shapes[output]) != 4 or len({len(one) for one in units}) != 1:
            return None
        self._join(units[0], units[1])
        self._join(units[0], units[2])
        return Track(1, units[0])


def pads_of(node: Node, axis: int, rank: int) -> tuple[int, int]:
    """How much a pad node adds before and after along an axis; its list starts at the last axis."""
    pad, place = node.arguments["pad"], 2 * (rank - 1 - axis)
    return (pad[place], pad[place + 1]) if place < len(pad) else (0, 0)
