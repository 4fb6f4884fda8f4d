"""How each operation passes units on: from the track of what it reads to the track of what it gives.

A rule answers None where the units cannot pass: then they are pinned. It answers ENDS where they end and may leave
all the same. A rule is asked only where something that the operation reads has units. An operation that mixes
positions along one of several axes of units lets them pass as whole blocks along it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tersenet.graph.shapes import BATCH
from tersenet.graph.units import Track
from tersenet.ir import Node, Parameter

if TYPE_CHECKING:
    from tersenet.graph.coupling import Coupling, Operand

ENDS = Track((), np.zeros(0, dtype=np.int64))
# Why the units of an operation's input are pinned, where more can be said than that it mixes them.
REASONS = {
    "layer_norm": "normalises over the channels, so that what it says of one depends on all",
    "rms_norm": "normalises over the channels, so that what it says of one depends on all",
    "group_norm": "normalises over groups of channels, so that what it says of one depends on its group",
    "avg_pool3d": "mixes or rearranges channels: each one depends on its neighbours",
    "slice": "takes channels at fixed distances",
    "lstm_cell": "keeps its state, which has as many numbers as it was given",
}
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
    track = coupling.only(coupling.source(node)[1], 1)
    return _marked(coupling, track, node, "weight", "bias", "running_mean", "running_var")


def _marked(coupling: Coupling, track: Track | None, node: Node, *names: str) -> Track | None:
    """The track, whose units these vectors of the node have too; nothing where one of them is computed."""
    given = [one for name in names if (one := node.get(name)) is not None]
    if track is None or not all(isinstance(one, Parameter) for one in given):
        return None
    for one in given:
        coupling.mark(one.name, 0, track.units)
    return track


@follows("group_norm")
def follow_group_norm(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Whole groups."""
    track = coupling.only(coupling.source(node)[1], 1)
    if track is None or node.arguments["num_groups"] == 1:
        return None
    groups = track.units.reshape(node.arguments["num_groups"], -1)
    coupling.join(np.broadcast_to(groups[:, :1], groups.shape), groups)
    return _marked(coupling, track, node, "weight", "bias")


@follows("prelu")
def follow_prelu(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    _, track = coupling.source(node)
    if coupling.shape(node.arguments["weight"])[0] == 1:
        return track
    return _marked(coupling, coupling.only(track, 1), node, "weight")


@follows(*WINDOWS)
def follow_window(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank = len(coupling.shape(given))
    return coupling.whole(track, range(rank - WINDOWS[node.op], rank))


@follows("softmax", "log_softmax")
def follow_softmax(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    return coupling.whole(track, [node.arguments["dim"] % len(coupling.shape(given))])


@follows("layer_norm", "rms_norm")
def follow_layer_norm(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank = len(coupling.shape(given))
    return coupling.whole(track, range(rank - len(node.arguments["normalized_shape"]), rank))


@follows("mean", "sum", "amax")
def follow_mean(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank, dims = len(coupling.shape(given)), node.get("dim")
    gone = {dim % rank for dim in dims} if dims else set(range(rank))
    found = coupling.whole(track, gone)
    if found is None or node.get("keepdim"):
        return found
    return found.moved({axis: axis - sum(dim < axis for dim in gone) for axis in found.axes})


@follows("cat")
def follow_cat(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Along the channels: those of one, then those of the other; along another axis they become one."""
    dim = node.get("dim") % len(coupling.shapes[output])
    tracks = _with_pins(coupling, index, node, dim)
    if tracks is None:
        return None
    axes = tracks[0].axes
    if dim in axes:
        return Track(axes, np.concatenate([track.units for track in tracks], axes.index(dim)))
    for other in tracks[1:]:
        coupling.join(tracks[0].units, other.units)
    return tracks[0]


def _with_pins(coupling: Coupling, index: int, node: Node, dim: int) -> list[Track] | None:
    """The tracks of all tensors along the axes they share; units that cannot go for those that have none."""
    tensors = node.arguments["tensors"]
    known = [track for one in tensors if (track := coupling.track(one)) is not None]
    axes = set.intersection(*(set(track.axes) for track in known))
    if len(known) < len(tensors):
        # What has no units gets them on one axis: that of the pieces, if it can.
        axes = {dim} if dim in axes else set(sorted(axes)[:1])
    if not axes:
        return None
    tracks = []
    for one in tensors:
        track = coupling.track(one)
        if track is None:
            axis = next(iter(axes))
            units = coupling.fresh(coupling.shape(one)[axis])
            if isinstance(one, Parameter):
                coupling.mark(one.name, axis, units)
            else:
                coupling.pin(units, f"node {index} ({node.op}) joins channels with what has none")
            tracks.append(Track((axis,), units))
            continue
        shared = coupling.whole(track, set(track.axes) - axes)
        assert shared is not None
        tracks.append(shared)
    return tracks


@follows("stack")
def follow_stack(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    tracks = [coupling.track(one) for one in node.arguments["tensors"]]
    known = [track for track in tracks if track is not None]
    axes = set.intersection(*(set(track.axes) for track in known))
    if len(known) < len(tracks) or not axes:
        return None
    shared = [found for track in known if (found := coupling.whole(track, set(track.axes) - axes)) is not None]
    for other in shared[1:]:
        coupling.join(shared[0].units, other.units)
    dim = node.get("dim") % len(coupling.shapes[output])
    return shared[0].moved({axis: axis + (dim <= axis) for axis in axes})


@follows("flatten", "reshape")
def follow_reshape(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Neighbouring axes are merged and split: the units are an array that takes the new shape with the value."""
    given, track = coupling.source(node)
    old, new = _factors(coupling.shape(given)), _factors(coupling.shapes[output])
    before, after = [1] * len(old), [1] * len(new)
    for olds, news in _blocks([size for _, size in old], [size for _, size in new]):
        if not any(old[place][0] in track.axes and old[place][1] != BATCH for place in olds):
            continue
        for shape, factors, places in ((before, old, olds), (after, new, news)):
            for place in places:
                shape[place] = one_example(factors[place][1])
            if any(factors[place][1] == BATCH for place in places[1:]):
                return None  # the batch lies between channels
    own = [track.size(axis) if axis in track.axes and size != BATCH else 1 for axis, size in old]
    units = np.broadcast_to(track.units.reshape(own), before).reshape(after)
    varies = [place for place in range(len(new)) if (units != units.take([0], place)).any()]
    kept = varies or [int(np.argmax(after))]  # one unit alone has the longest axis
    chosen = tuple(slice(None) if place in kept else 0 for place in range(len(new)))
    return Track(tuple(new[place][0] for place in kept), units[chosen])


def _factors(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Axes with their sizes; one that the batch is part of comes twice, as the batch and the rest."""
    found = []
    for axis, size in enumerate(shape):
        found += [(axis, BATCH)] if size % BATCH == 0 else []
        found += [(axis, one_example(size))] if size != BATCH else []
    return found


def _blocks(old: list[int], new: list[int]) -> Iterator[tuple[range, range]]:
    """The smallest runs of axes, old and new, that hold the same numbers."""
    i = j = 0
    while i < len(old) or j < len(new):
        first, second, a, b = i, j, 1, 1
        while a != b or i == first or j == second:
            if i < len(old) and (a <= b or j == len(new)):
                a, i = a * old[i], i + 1
            elif j < len(new):
                b, j = b * new[j], j + 1
            else:
                break
        if i == len(old) or j == len(new):  # what is left has size 1
            i, j = len(old), len(new)
        yield range(first, i), range(second, j)


def one_example(size: int) -> int:
    """The positions of an axis that belong to one example."""
    return size // BATCH if size % BATCH == 0 else size


@follows("unsqueeze")
def follow_unsqueeze(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    _, track = coupling.source(node)
    dim = node.arguments["dim"] % len(coupling.shapes[output])
    return track.moved({axis: axis + (dim <= axis) for axis in track.axes})


@follows("squeeze")
def follow_squeeze(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    shape = coupling.shape(given)
    gone = {dim % len(shape) for dim in node.arguments["dim"]}
    gone = {dim for dim in gone if shape[dim] == 1}
    found = coupling.whole(track, gone)
    return None if found is None else found.moved({axis: axis - sum(dim < axis for dim in gone) for axis in found.axes})


@follows("permute")
def follow_permute(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank = len(coupling.shape(given))
    return track.moved({dim % rank: place for place, dim in enumerate(node.arguments["dims"])})


@follows("transpose")
def follow_transpose(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    rank = len(coupling.shape(given))
    first, second = node.arguments["dim0"] % rank, node.arguments["dim1"] % rank
    return track.moved({axis: {first: second, second: first}.get(axis, axis) for axis in track.axes})


@follows("slice")
def follow_slice(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    dim = node.get("dim") % len(coupling.shape(given))
    if dim not in track.axes:
        return track
    if node.get("step") != 1 or coupling.shape(given)[dim] % BATCH == 0:
        return coupling.whole(track, [dim])
    cut = slice(node.get("start"), node.get("end"))
    return Track(track.axes, track.units[tuple(cut if axis == dim else slice(None) for axis in track.axes)])


@follows("select")
def follow_select(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """One position of an axis. Where it is one of the channels, that one stays and the others may leave."""
    given, track = coupling.source(node)
    dim = node.arguments["dim"] % len(coupling.shape(given))
    place = {axis: axis - (dim < axis) for axis in track.axes if axis != dim}
    if dim not in track.axes:
        return track.moved(place)
    if coupling.shape(given)[dim] % BATCH == 0:
        return None
    units = track.units.take(node.arguments["index"], track.axes.index(dim))
    if not place:
        coupling.pin(units, f"node {index} (select) reads this channel alone")
        return ENDS
    coupling.rigid.add((given.number, dim))
    return Track(tuple(axis for axis in track.axes if axis != dim), units).moved(place)


@follows("expand")
def follow_expand(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    lead = len(coupling.shapes[output]) - len(coupling.shape(given))
    found = coupling.whole(track, [axis for axis in track.axes if node.arguments["size"][axis + lead] != -1])
    return None if found is None else found.moved({axis: axis + lead for axis in found.axes})


@follows("pad")
def follow_pad(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Pads along the channels are channels too: constants that may go with what they are added to."""
    given, track = coupling.source(node)
    rank = len(coupling.shape(given))
    padded = [axis for axis in track.axes if pads_of(node, axis, rank) != (0, 0)]
    if not padded:
        return track
    if len(track.axes) > 1:
        return coupling.whole(track, padded)
    left, right = pads_of(node, track.axis, rank)
    if node.get("mode") != "constant" or left < 0 or right < 0:
        return None
    return Track(track.axes, np.concatenate([coupling.fresh(left), track.units, coupling.fresh(right)]))


@follows("repeat_interleave")
def follow_repeat_interleave(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    if node.get("dim") is None:
        return None
    dim = node.get("dim") % len(coupling.shape(given))
    if dim not in track.axes:
        return track
    return Track(track.axes, np.repeat(track.units, node.arguments["repeats"], track.axes.index(dim)))


@follows("flip")
def follow_flip(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    given, track = coupling.source(node)
    flipped = {dim % len(coupling.shape(given)) for dim in node.arguments["dims"]}
    return Track(
        track.axes, np.flip(track.units, tuple(place for place, axis in enumerate(track.axes) if axis in flipped))
    )


@follows("channel_shuffle")
def follow_channel_shuffle(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """The same position leaves each group."""
    track = coupling.only(coupling.source(node)[1], 1)
    if track is None:
        return None
    groups = track.units.reshape(node.arguments["groups"], -1)
    coupling.join(np.broadcast_to(groups[:1], groups.shape), groups)
    return Track((1,), groups.T.ravel())


@follows("pixel_shuffle")
def follow_pixel_shuffle(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """A block of channels becomes one of larger maps."""
    given, track = coupling.source(node)
    single = coupling.only(track, len(coupling.shape(given)) - 3)
    if single is None:
        return None
    blocks = single.units.reshape(-1, node.arguments["upscale_factor"] ** 2)
    coupling.join(np.broadcast_to(blocks[:, :1], blocks.shape), blocks)
    return Track(single.axes, blocks[:, 0])


@follows("scaled_dot_product_attention")
def follow_scaled_dot_product_attention(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Whole heads. A head of keys and values leaves with all the heads of queries that read it."""
    rank = len(coupling.shapes[output])
    operands = []
    for name in ("query", "key", "value", "attn_mask"):
        given = node.get(name)
        if given is None:
            continue
        one = coupling.operand(given)
        if one.track is not None:
            track = coupling.whole(one.track, (len(one.shape) - 2, len(one.shape) - 1))
            if track is None:
                return None
            one = replace(one, track=track)
        if node.get("enable_gqa") and name in ("key", "value"):
            one = _repeated(one, len(one.shape) - 3, coupling.shapes[output][rank - 3])
        operands.append(one)
    return coupling.together(index, node, output, operands)


def _repeated(one: Operand, axis: int, count: int) -> Operand:
    """Each position of an axis several times, so that there are `count`."""
    shape, track, times = list(one.shape), one.track, count // one.shape[axis]
    shape[axis] = count
    if track is not None and axis in track.axes:
        track = Track(track.axes, np.repeat(track.units, times, track.axes.index(axis)))
    return replace(one, shape=tuple(shape), track=track)


@follows("matmul")
def follow_matmul(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """Whole heads, where they lie on axes before the two that are multiplied. Rows of the first and columns of the
    second pass where the other has no channels. Channels that both sum over leave both, and end.
    """
    given = node.arguments["self"], node.arguments["other"]
    operands, rank = [coupling.operand(one) for one in given], len(coupling.shapes[output])
    if min(len(one.shape) for one in operands) < 2:
        return None
    heads = [
        None if one.track is None else coupling.whole(one.track, (len(one.shape) - 2, len(one.shape) - 1))
        for one in operands
    ]
    if any(heads):
        if any(one.track is not None and track is None for one, track in zip(operands, heads)):
            return None
        both = [replace(one, track=track) for one, track in zip(operands, heads)]
        return coupling.together(index, node, output, both)
    summed = len(operands[0].shape) - 1, len(operands[1].shape) - 2
    inside = [coupling.only(one.track, axis) for one, axis in zip(operands, summed)]
    if any(inside):
        return _summed_over(coupling, operands, summed, inside)
    tracked = [one for one in operands if one.track is not None]
    if len(tracked) > 1:
        return None
    (one,) = tracked
    assert one.track is not None
    return one.track.moved({axis: axis + rank - len(one.shape) for axis in one.track.axes})


def _summed_over(
    coupling: Coupling, operands: list[Operand], axes: tuple[int, int], inside: list[Track | None]
) -> Track | None:
    """Channels on the axis that both operands of a product sum over; a stored tensor loses them too."""
    for one, axis, track in zip(operands, axes, inside):
        if track is None and (one.track is not None or one.name is None):
            return None
        if track is None and one.name is not None:
            coupling.mark(one.name, axis, next(other.units for other in inside if other is not None))
    known = [track.units for track in inside if track is not None]
    coupling.join(known[0], known[-1])
    coupling.ends.append(known[0])
    return ENDS


@follows("lstm_cell")
def follow_lstm_cell(coupling: Coupling, index: int, node: Node, output: int) -> Track | None:
    """What it reads may become less; the state stays, and nothing that has channels may come in there."""
    given, weight = node.arguments["input"], node.arguments["w_ih"]
    track = coupling.only(coupling.track(given), 1)
    if track is None or not isinstance(weight, Parameter) or any(coupling.track(one) for one in node.arguments["hx"]):
        return None
    coupling.read(index, weight.name, 1, track.units)
    return ENDS


def pads_of(node: Node, axis: int, rank: int) -> tuple[int, int]:
    """How much a pad node adds before and after along an axis; its list starts at the last axis."""
    pad, place = node.arguments["pad"], 2 * (rank - 1 - axis)
    return (pad[place], pad[place + 1]) if place < len(pad) else (0, 0)
