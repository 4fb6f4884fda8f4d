"""How each operation passes units on: from the track of what it reads to the track of what it gives.

A rule answers None where the units stop: then they are pinned. A rule is asked only where something that the
operation reads has units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tersenet.graph.units import Track
from tersenet.ir import Node, Parameter, Value

if TYPE_CHECKING:
    from tersenet.graph.coupling import Coupling

Rule = Callable[["Coupling", int, Node, int], Track | None]
RULES: dict[str, Rule] = {}
# Operation -> how many of the last axes it mixes.
WINDOWS = {
    "max_pool1d": 1,
    "avg_pool1d": 1,
    "adaptive_avg_pool1d": 1,
    "max_pool2d": 2,
    "avg_pool2d": 2,
    "adaptive_avg_pool2d": 2,
    "adaptive_max_pool2d": 2,
    "avg_pool3d": 3,
}


def follows(*operations: str) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(operations, rule))
        return rule

    return enter


@follows("batch_norm")
def follow_batch_norm(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    _, track = coupling.source(node)
    if track.axis != 1:
        return None
    for name in ("weight", "bias", "running_mean", "running_var"):
        given = node.get(name)
        if isinstance(given, Value):
            return None
        if given is not None:
            coupling.mark(given.name, 0, track.units)
    return track


@follows("prelu")
def follow_prelu(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    _, track = coupling.source(node)
    weight = node.arguments["weight"]
    if not isinstance(weight, Parameter) or track.axis != 1:
        return None
    if coupling.shape(weight)[0] > 1:
        coupling.mark(weight.name, 0, track.units)
    return track


@follows(*WINDOWS)
def follow_window(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    return track if track.axis < len(coupling.shape(given)) - WINDOWS[node.op] else None


@follows("softmax", "log_softmax")
def follow_softmax(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    return track if node.arguments["dim"] % len(coupling.shape(given)) != track.axis else None


@follows("layer_norm", "rms_norm")
def follow_layer_norm(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    normalized = len(node.arguments["normalized_shape"])
    return track if track.axis < len(coupling.shape(given)) - normalized else None


@follows("mean", "sum", "amax")
def follow_mean(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank, dims = len(coupling.shape(given)), node.get("dim")
    gone = {dim % rank for dim in dims} if dims else set(range(rank))
    if track.axis in gone:
        return None
    return Track(
        track.axis if node.get("keepdim") else track.axis - sum(dim < track.axis for dim in gone),
        track.units,
    )


@follows("cat")
def follow_cat(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    tensors = node.arguments["tensors"]
    rank = len(coupling.shapes[output])
    dim = node.get("dim") % rank
    tracks = [coupling.track(one) for one in tensors]
    axes = {track.axis for track in tracks if track is not None}
    if len(axes) != 1:
        return None
    axis = axes.pop()
    units = []
    for one, track in zip(tensors, tracks):
        if track is not None:
            units.append(track.units)
            continue
        fixed = coupling.fresh(coupling.shape(one)[axis])
        if isinstance(one, Parameter):
            coupling.mark(one.name, axis, fixed)
        else:
            coupling.pin(fixed, f"node {index} (cat) joins channels with what has none")
        units.append(fixed)
    if dim == axis:
        return Track(axis, np.concatenate(units))
    for other in units[1:]:
        coupling.join(units[0], other)
    return Track(axis, units[0])


@follows("stack")
def follow_stack(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    tracks = [coupling.track(one) for one in node.arguments["tensors"]]
    if any(track is None for track in tracks) or len({track.axis for track in tracks if track}) != 1:
        return None
    units = [track.units for track in tracks if track]
    for other in units[1:]:
        coupling.join(units[0], other)
    dim, axis = node.get("dim") % len(coupling.shapes[output]), next(track.axis for track in tracks if track)
    return Track(axis + (dim <= axis), units[0])


@follows("flatten")
def follow_flatten(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    shape = coupling.shape(given)
    start, end = node.get("start_dim") % len(shape), node.get("end_dim") % len(shape)
    if not start <= track.axis <= end:
        return Track(track.axis - (end - start if track.axis > end else 0), track.units)
    if start == 0:
        return None
    before, after = math.prod(shape[start : track.axis]), math.prod(shape[track.axis + 1 : end + 1])
    return Track(start, np.tile(np.repeat(track.units, after), before))


@follows("reshape")
def follow_reshape(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """The axis stays whole, or swallows what follows it, or its leading factor becomes an axis (heads,
    the channels of a map), with one unit per block.
    """
    given, track = coupling.source(node)
    old, new = coupling.shape(given), coupling.shapes[output]
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
            coupling.join(blocks[:, 0], blocks[:, column])
        return Track(axis, blocks[:, 0].copy())
    return None


@follows("unsqueeze")
def follow_unsqueeze(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    _, track = coupling.source(node)
    dim = node.arguments["dim"] % len(coupling.shapes[output])
    return Track(track.axis + (dim <= track.axis), track.units)


@follows("squeeze")
def follow_squeeze(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    shape = coupling.shape(given)
    gone = {dim % len(shape) for dim in node.arguments["dim"]}
    gone = {dim for dim in gone if shape[dim] == 1}
    if track.axis in gone:
        return None
    return Track(track.axis - sum(dim < track.axis for dim in gone), track.units)


@follows("permute")
def follow_permute(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank = len(coupling.shape(given))
    return Track([dim % rank for dim in node.arguments["dims"]].index(track.axis), track.units)


@follows("transpose")
def follow_transpose(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank = len(coupling.shape(given))
    first, second = node.arguments["dim0"] % rank, node.arguments["dim1"] % rank
    return Track({first: second, second: first}.get(track.axis, track.axis), track.units)


@follows("slice")
def follow_slice(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    if node.get("dim") % len(coupling.shape(given)) != track.axis:
        return track
    if node.get("step") != 1:
        return None
    start, end, _ = slice(node.get("start"), node.get("end")).indices(len(track.units))
    return Track(track.axis, track.units[start:end])


@follows("select")
def follow_select(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    dim = node.arguments["dim"] % len(coupling.shape(given))
    return None if dim == track.axis else Track(track.axis - (dim < track.axis), track.units)


@follows("expand")
def follow_expand(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    axis = track.axis + len(coupling.shapes[output]) - len(coupling.shape(given))
    return Track(axis, track.units) if node.arguments["size"][axis] == -1 else None


@follows("pad")
def follow_pad(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Pads along the channels are channels too: constants that may go with what they are added to."""
    given, track = coupling.source(node)
    left, right = pads_of(node, track.axis, len(coupling.shape(given)))
    if left == right == 0:
        return track
    if node.get("mode") != "constant" or left < 0 or right < 0:
        return None
    return Track(track.axis, np.concatenate([coupling.fresh(left), track.units, coupling.fresh(right)]))


@follows("repeat_interleave")
def follow_repeat_interleave(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    if node.get("dim") is None:
        return None
    if node.get("dim") % len(coupling.shape(given)) != track.axis:
        return track
    return Track(track.axis, np.repeat(track.units, node.arguments["repeats"]))


@follows("flip")
def follow_flip(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    flipped = track.axis in {dim % len(coupling.shape(given)) for dim in node.arguments["dims"]}
    return Track(track.axis, track.units[::-1].copy()) if flipped else track


@follows("scaled_dot_product_attention")
def follow_scaled_dot_product_attention(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Whole heads: axis 1 of query, key and value, one unit each."""
    tracks = [coupling.track(node.arguments[name]) for name in ("query", "key", "value")]
    if node.get("attn_mask") is not None and len(coupling.shape(node.get("attn_mask"))) > 2:
        return None
    if node.get("enable_gqa") or not all(track is not None and track.axis == 1 for track in tracks):
        return None
    units = [track.units for track in tracks if track is not None]
    if len(coupling.shapes[output]) != 4 or len({len(one) for one in units}) != 1:
        return None
    coupling.join(units[0], units[1])
    coupling.join(units[0], units[2])
    return Track(1, units[0])


def pads_of(node: Node, axis: int, rank: int) -> tuple[int, int]:
    """How much a pad node adds before and after along an axis; its list starts at the last axis."""
    pad, place = node.arguments["pad"], 2 * (rank - 1 - axis)
    return (pad[place], pad[place + 1]) if place < len(pad) else (0, 0)
