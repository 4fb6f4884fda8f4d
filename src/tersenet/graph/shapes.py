"""The shape of every value, computed without data on PyTorch's meta device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tersenet.graph.network import Network
from tersenet.graph.plan import always_trains, make_plan
from tersenet.ir.ops import ELEMENTWISE_ONE

# Large and prime, so that a product of sizes that holds for it holds for the batch.
BATCH = 7919
# Their results need no computing, which on the meta device is most of the time that all of them take.
SAME = ELEMENTWISE_ONE | {"batch_norm"}


def value_shapes(
    network: Network, batch: int = BATCH, inputs: Sequence[tuple[int, ...]] | None = None
) -> tuple[tuple[int, ...], ...]:
    """The shape of each value of the graph, inputs first, for this batch.

    inputs   shapes of one example of each input, where they are not the graph's
    """
    graph = network.graph
    plan = make_plan(graph)
    values: list[Any] = [None] * plan.slots
    shapes = [given.shape for given in graph.inputs] if inputs is None else inputs
    for number, (given, shape) in enumerate(zip(graph.inputs, shapes)):
        values[number] = torch.empty((batch, *shape), dtype=getattr(torch, given.dtype), device="meta")
    for name, slot in plan.tensors.items():
        tensor = network.dense(name)
        values[slot] = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    for position, slot in plan.flags.items():
        values[slot] = always_trains(graph.nodes[position])
    with torch.no_grad():
        for node, step, (source, output) in zip(graph.nodes, plan.steps, plan.watched):
            if node.op in SAME and source >= 0 and values[source].is_floating_point():
                values[output] = values[source]
            else:
                step(values)
    return tuple(tuple(one.shape) for one in values[: graph.first_value(len(graph.nodes))])
