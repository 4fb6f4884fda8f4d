"""BatchNorm with fixed statistics as what it then is: one scale and one shift a channel.

gamma (x - mean) / sqrt(var + eps) + beta = scale x + shift, after Jacob et al. 2018, arXiv:1712.05877, section 3.2;
the scale stays beside the weight, not in it, so that a codebook stays one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.graph._translate import renumbered
from tersenet.graph.network import Network
from tersenet.graph.rebuild import rebuilt
from tersenet.graph.shapes import value_shapes
from tersenet.ir import OPS, Graph, Node, Parameter, Value, make_node

# Whose weight has the outputs as its first axis.
LAYERS = ("conv1d", "conv2d", "conv3d", "linear")


def fold_batchnorm(network: Network) -> Network:
    """A network in which `mul` and `add` do what BatchNorm does in eval mode; half the numbers a channel.

    The layer `bn1` then holds bn1.scale and bn1.shift of shape (C, 1, ...), float32. A channel that comes from zeros alone
    has the scale 0: its variance is none, so what BatchNorm would multiply it by is large and says nothing. The bias of a
    layer that BatchNorm alone reads goes into the shift. BatchNorm without running statistics stays. In training mode the result differs: it no longer normalises by the batch.
    """
    graph, shapes = network.graph, value_shapes(network)
    declared, changed = dict(graph.parameters), dict[str, Tensor]()
    numbers = {number: number for number in range(len(graph.inputs))}
    nodes: list[Node] = []
    used = len(graph.inputs)
    unbiased = {position for position, node in enumerate(graph.nodes) if _read_once_by_batchnorm(graph, position)}
    for position, node in enumerate(graph.nodes):
        first = graph.first_value(position)
        if _folds(node):
            scale, shift = _scale_and_shift(network, node, unbiased)
            names = _names(node, declared)
            for name, tensor in zip(names, (scale, shift)):
                changed[name] = tensor.reshape(-1, *[1] * (len(shapes[first]) - 2))
            source = Value(numbers[node.arguments["input"].number])
            nodes.append(make_node("mul", self=source, other=Parameter(names[0])))
            nodes.append(make_node("add", self=Value(used), other=Parameter(names[1])))
            numbers[first] = used + 1
            used += 2
            continue
        if position in unbiased:
            node = Node(node.op, {name: given for name, given in node.arguments.items() if name != "bias"})
        nodes.append(renumbered(node, numbers))
        for offset in range(OPS[node.op].outputs):
            numbers[first + offset] = used + offset
        used += OPS[node.op].outputs
    read = {one.name for node in nodes for one in node.tensors() if isinstance(one, Parameter)}
    folded = replace(
        graph,
        nodes=tuple(nodes),
        outputs=tuple(Value(numbers[output.number]) for output in graph.outputs),
        parameters={name: dtype for name, dtype in declared.items() if name in read},
        buffers=graph.buffers & read,
    )
    return rebuilt(network, folded, changed)


def _folds(node: Node) -> bool:
    return node.op == "batch_norm" and isinstance(node.get("running_mean"), Parameter)


def _is_layer(node: Node) -> bool:
    """Whether weight and bias, if it has one, are stored."""
    if node.op not in LAYERS:
        return False
    return isinstance(node.get("weight"), Parameter) and isinstance(node.get("bias"), (Parameter, type(None)))


def _read_once_by_batchnorm(graph: Graph, position: int) -> bool:
    """Whether a layer's output is read by one BatchNorm that folds, and by nothing else."""
    output = Value(graph.first_value(position))
    if not _is_layer(graph.nodes[position]) or output in graph.outputs:
        return False
    readers = [node for node in graph.nodes for one in node.tensors() if one == output]
    return len(readers) == 1 and _folds(readers[0])


def _scale_and_shift(
    network: Network, node: Node, unbiased: set[int]
) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Of a BatchNorm, with what the layer before has to do with them."""

    def given(name: Any, default: float) -> Tensor:
        return torch.full_like(mean, default) if name is None else network.dense(name.name).double()

    graph, source = network.graph, node.arguments["input"].number
    mean = network.dense(node.get("running_mean").name).double()
    scale = given(node.get("weight"), 1.0) * torch.rsqrt(given(node.get("running_var"), 1.0) + node.get("eps"))
    shift = given(node.get("bias"), 0.0) - mean * scale
    before = next((place for place in range(len(graph.nodes)) if graph.first_value(place) == source), None)
    if before is not None and _is_layer(graph.nodes[before]):
        layer = graph.nodes[before]
        dead = given(layer.get("weight"), 1.0).flatten(1).abs().amax(1) == 0
        into_shift = torch.ones_like(dead) if before in unbiased else dead
        shift = torch.where(into_shift, shift + scale * given(layer.get("bias"), 0.0), shift)
        scale = scale.masked_fill(dead, 0.0)
    return scale.float(), shift.float()


def _names(node: Node, declared: dict[str, str]) -> tuple[str, str]:
    """Declare bn.scale and bn.shift before bn.running_mean; another name where a module is used twice."""
    mean = node.get("running_mean").name
    layer = mean.removesuffix("running_mean")
    scale, shift = f"{layer}scale", f"{layer}shift"
    while {scale, shift} & set(declared):
        scale, shift = f"{scale}_", f"{shift}_"
    before = list(declared.items())
    declared.clear()
    for name, dtype in before:
        if name == mean:
            declared.update({scale: "float32", shift: "float32"})
        declared[name] = dtype
    return scale, shift
