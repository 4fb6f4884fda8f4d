"""The shape of every value, computed without data on PyTorch's meta device."""

from __future__ import annotations

from typing import Any

import torch

from tersenet.graph.network import Network
from tersenet.graph.plan import always_trains, make_plan

# Large and prime, so that a product of sizes that holds for it holds for the batch.
BATCH = 7919


def value_shapes(network: Network, batch: int = BATCH) -> tuple[tuple[int, ...], ...]:
    """The shape of each value of the graph, inputs first, for this batch."""
    graph = network.graph
    plan = make_plan(graph)
    values: list[Any] = [None] * plan.slots
    for number, given in enumerate(graph.inputs):
        values[number] = torch.empty((batch, *given.shape), dtype=getattr(torch, given.dtype), device="meta")
    for name, slot in plan.tensors.items():
        tensor = network.dense(name)
        values[slot] = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    for position, slot in plan.flags.items():
        values[slot] = always_trains(graph.nodes[position])
    with torch.no_grad():
        for step in plan.steps:
            step(values)
    return tuple(tuple(one.shape) for one in values[: graph.first_value(len(graph.nodes))])
