"""Whether a network of pictures takes other heights and widths than those it was captured with.

A picture has shape (channels, height, width), and the last two axes of what is computed from it are its places. It
takes other sizes where each operation that meets places either moves a window over them, treats each alone, or takes
all of them together whatever their number (global pooling), and none names their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tersenet.errors import TersenetError
from tersenet.ir.graph import Graph, Node, Parameter, Value
from tersenet.ir.ops import ELEMENTWISE_ONE, OPS

PICTURE_DIMS = 3
MAPS_DIMS = 1 + PICTURE_DIMS
CONVOLUTIONS = ("conv2d", "conv_transpose2d")
# Places come in and go out; a stored tensor beside them would be refused where it has places of its own.
KEEPS_PLACES = ELEMENTWISE_ONE | {
    "max_pool2d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "group_norm",
    "prelu",
    "add",
    "sub",
    "mul",
    "div",
    "maximum",
    "minimum",
    "pad",
    "channel_shuffle",
    "pixel_shuffle",
}
# These too, where the axis they name is that of the channels.
AT_CHANNELS = {"cat", "softmax", "log_softmax", "slice", "flip", "unsqueeze", "squeeze"}
MOVES_PLACES = {"unsqueeze": 1, "squeeze": -1}
# Sizes come in, one number of places goes out.
SETTLES_PLACES = {"adaptive_avg_pool2d", "adaptive_max_pool2d"}
PLACES = ({2, 3}, {-1, -2})


def fixed_by(graph: Graph) -> str:
    """Why other heights and widths cannot run, as the rest of a sentence; nothing where they can."""
    pictures = [MAPS_DIMS if len(given.shape) == PICTURE_DIMS else 0 for given in graph.inputs]
    if not any(pictures):
        return "no input is a picture of shape (channels, height, width)"
    axes = _axes_by_node(graph, pictures)
    if None not in axes:
        return ""
    named = axes.index(None)
    return (
        f"its operation {named}, {name_of(graph.nodes[named])}, is made for the size that the network was captured with"
    )


def resized(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> Graph:
    """The graph with inputs of these shapes, each of one example. Refused where they cannot run.

    What it refuses does not run; whether the rest is large enough for each window is seen when shapes are worked out.
    """
    if len(shapes) != len(graph.inputs):
        names = ", ".join(one.name for one in graph.inputs)
        raise TersenetError(f"{len(shapes)} inputs came; the network reads {len(graph.inputs)}: {names}")
    for one, shape in zip(graph.inputs, shapes):
        if tuple(shape) == one.shape:
            continue
        sentence = f"input '{one.name}' has shape {_batch_of(shape)}; expected {_batch_of(one.shape)}"
        if len(one.shape) != PICTURE_DIMS or len(shape) != PICTURE_DIMS or shape[0] != one.shape[0]:
            raise TersenetError(sentence)
        why = fixed_by(graph)
        if why:
            raise TersenetError(f"{sentence}; other heights and widths do not run: {why}")
    inputs = (replace(one, shape=tuple(shape)) for one, shape in zip(graph.inputs, shapes))
    return replace(graph, inputs=tuple(inputs))


def _batch_of(shape: Sequence[int]) -> str:
    return f"(batch, {', '.join(map(str, shape))})"


def convolved_maps(graph: Graph) -> frozenset[int]:
    """The numbers of the values of shape (batch, channels, height, width) that come from a convolution."""
    found: list[int] = []
    number = len(graph.inputs)
    for node, axes in zip(graph.nodes, _axes_by_node(graph, [0] * number, from_convolutions=True)):
        outputs = OPS[node.op].outputs
        found += range(number, number + outputs) if axes == MAPS_DIMS else ()
        number += outputs
    return frozenset(found)


def is_global(node: Node) -> bool:
    """Whether it takes all places of a map together, whatever their number."""
    if node.op in SETTLES_PLACES:
        return set(node.arguments["output_size"]) == {1}
    return node.op in ("mean", "amax") and set(node.get("dim") or ()) in PLACES


def _axes_by_node(graph: Graph, inputs: list[int], *, from_convolutions: bool = False) -> list[int | None]:
    """How many axes what each node makes has, if the last two are places: 0 if they are not, None where it names their
    number.

    inputs              the same of the network's inputs
    from_convolutions   what a convolution makes has places, whatever it reads
    """
    axes, found = list(inputs), list[int | None]()
    for node in graph.nodes:
        met = max((axes[one.number] for one in node.tensors() if isinstance(one, Value)), default=0)
        if node.op in CONVOLUTIONS and (met or from_convolutions):
            left: int | None = MAPS_DIMS
        else:
            left = _axes_left(node, met) if met else 0
        found.append(left)
        axes += [left or 0] * OPS[node.op].outputs
    return found


def _axes_left(node: Node, axes: int) -> int | None:
    """The axes of what a node makes of places; 0 where it has none left, None where it names their number."""
    if axes == MAPS_DIMS and (node.op in SETTLES_PLACES or is_global(node)):
        return 0
    if node.op == "slice" and node.get("start") is None and node.get("end") is None:
        return axes
    if node.op in AT_CHANNELS:
        named = node.get("dims") if node.op == "flip" else node.get("dim")
        left = axes + MOVES_PLACES.get(node.op, 0)
        at_channels = named in (1, (1,)) and left > PICTURE_DIMS
        return left if at_channels else None
    return axes if node.op in KEEPS_PLACES else None


def name_of(node: Node) -> str:
    """The operation, and its weight where that is stored."""
    weight = node.arguments.get("weight")
    return f"{node.op} '{weight.name.removesuffix('.weight')}'" if isinstance(weight, Parameter) else node.op
