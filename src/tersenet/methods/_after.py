"""The stored numbers that follow a layer and can take up what a change of its weight does to each channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from tersenet.graph import Network, WeightedLayer
from tersenet.ir import Parameter, Value
from tersenet.methods._meetings import uses


@dataclass(frozen=True)
class Line:
    """Where a layer's channels are scaled and shifted: names of stored tensors, or nothing."""

    scale: str | None
    shift: str | None


@dataclass(frozen=True)
class Holder:
    """A stored vector that can take up a shift of a layer's outputs alone.

    name   of the vector
    for_1  how much it changes where a channel's outputs grew by one: -1 in a bias, +1 in a running mean, minus the
           scale in the shift of a folded BatchNorm
    """

    name: str
    for_1: Float64[Tensor, " channels"] | float


def line_after(network: Network, layer: WeightedLayer) -> Line:
    """The scale and shift that only this layer's outputs pass through, else its own bias as a shift."""
    graph = network.graph
    channels = len(network.dense(layer.weight))
    shift = layer.bias if layer.bias is not None and uses(graph, layer.bias) == 1 else None
    if uses(graph, layer.weight) > 1:
        return Line(None, None)
    first = _only_reader(network, graph.first_value(layer.index), "mul", channels)
    if first is None:
        return Line(None, shift)
    position, scale = first
    second = _only_reader(network, graph.first_value(position), "add", channels)
    return Line(scale, second[1] if second is not None else None)


def holder_of_mean(network: Network, layer: WeightedLayer) -> Holder | None:
    """The layer's own bias, the running mean of the BatchNorm that reads it, or the shift of a folded one."""
    graph = network.graph
    if uses(graph, layer.weight) > 1:
        return None
    if layer.bias is not None:
        return Holder(layer.bias, -1.0) if uses(graph, layer.bias) == 1 else None
    value = graph.first_value(layer.index)
    readers = [node for node in graph.nodes if Value(value) in node.tensors()]
    if len(readers) == 1 and readers[0].op == "batch_norm" and Value(value) not in graph.outputs:
        mean = readers[0].get("running_mean")
        return Holder(mean.name, 1.0) if isinstance(mean, Parameter) and uses(graph, mean.name) == 1 else None
    line = line_after(network, layer)
    if line.scale is None or line.shift is None:
        return None
    return Holder(line.shift, -network.dense(line.scale).double().reshape(-1))


def take_up(network: Network, holder: Holder, growth: Float64[Tensor, " channels"]) -> None:
    """Undo that each channel's outputs grew by `growth`. A form that held the vector is given up."""
    held = network.dense(holder.name)
    changed = held.double().reshape(-1) + growth * holder.for_1
    if network.form(holder.name) is not None:
        network.detach(holder.name)
    network.set_tensor(holder.name, changed.to(torch.float32).reshape(held.shape))


def _only_reader(network: Network, value: int, op: str, channels: int) -> tuple[int, str] | None:
    """The one node that reads a value, if it is an `op` with a stored tensor that holds a number a channel."""
    graph = network.graph
    readers = [i for i, node in enumerate(graph.nodes) if Value(value) in node.tensors()]
    if len(readers) != 1 or Value(value) in graph.outputs or graph.nodes[readers[0]].op != op:
        return None
    stored = [one.name for one in graph.nodes[readers[0]].tensors() if isinstance(one, Parameter)]
    if len(stored) != 1 or uses(graph, stored[0]) != 1 or network.dense(stored[0]).shape[:1] != (channels,):
        return None
    return (readers[0], stored[0]) if network.dense(stored[0]).numel() == channels else None
