"""BatchNorm with fixed statistics as what it then is: one scale and one shift a channel.

gamma (x - mean) / sqrt(var + eps) + beta = scale x + shift, after Jacob et al. 2018, arXiv:1712.05877, section 3.2;
the scale stays beside the weight, not in it, so that a codebook stays one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.graph._translate import renumbered
from tersenet.graph.network import Network
from tersenet.graph.rebuild import rebuilt
from tersenet.graph.shapes import value_shapes
from tersenet.ir import OPS, Node, Parameter, Value, make_node


def fold_batchnorm(network: Network) -> Network:
    """A network in which `mul` and `add` do what BatchNorm does in eval mode; half the numbers a channel.

    The layer `bn1` then holds bn1.scale and bn1.shift of shape (C, 1, ...), float32. A channel that comes from zeros alone
    has the scale 0: its variance is none, so what BatchNorm would multiply it by is large and says nothing. BatchNorm
    without running statistics stays. In training mode the result differs: it no longer normalises by the batch.
    """
    graph, shapes = network.graph, value_shapes(network)
    declared, changed = dict(graph.parameters), dict[str, Tensor]()
    numbers = {number: number for number in range(len(graph.inputs))}
    nodes: list[Node] = []
    used = len(graph.inputs)
    for position, node in enumerate(graph.nodes):
        first = graph.first_value(position)
        if node.op == "batch_norm" and isinstance(node.get("running_mean"), Parameter):
            scale, shift = _scale_and_shift(network, node)
            scale, shift = _without_dead(network, node, scale, shift)
            names = _names(node, declared)
            for name, tensor in zip(names, (scale, shift)):
                changed[name] = tensor.reshape(-1, *[1] * (len(shapes[first]) - 2))
            source = Value(numbers[node.arguments["input"].number])
            nodes.append(make_node("mul", self=source, other=Parameter(names[0])))
            nodes.append(make_node("add", self=Value(used), other=Parameter(names[1])))
            numbers[first] = used + 1
            used += 2
            continue
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


def _scale_and_shift(network: Network, node: Node) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    def given(argument: str, default: float) -> Tensor:
        name = node.get(argument)
        return network.dense(name.name).double() if name is not None else torch.full_like(mean, default)

    mean = network.dense(node.get("running_mean").name).double()
    scale = given("weight", 1.0) * torch.rsqrt(given("running_var", 1.0) + node.get("eps"))
    shift = given("bias", 0.0) - mean * scale
    return scale.float(), shift.float()


def _without_dead(
    network: Network, node: Node, scale: Float[Tensor, " C"], shift: Float[Tensor, " C"]
) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """The same function with the scale 0 where the filter before is all zeros, and its output its bias."""
    graph, source = network.graph, node.arguments["input"].number
    before = next((one for place, one in enumerate(graph.nodes) if graph.first_value(place) == source), None)
    if before is None or before.op not in ("conv1d", "conv2d", "conv3d", "linear"):
        return scale, shift
    weight = before.get("weight")
    if not isinstance(weight, Parameter):
        return scale, shift
    dead = network.dense(weight.name).flatten(1).abs().amax(1) == 0
    bias = before.get("bias")
    if isinstance(bias, Parameter):
        shift = torch.where(dead, shift + scale * network.dense(bias.name), shift)
    return scale.masked_fill(dead, 0.0), shift


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
