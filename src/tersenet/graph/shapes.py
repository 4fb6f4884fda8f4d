"""The shape of every value, computed without data on PyTorch's meta device."""

from __future__ import annotations

from typing import Any

import torch

from tersenet.graph.network import Network
from tersenet.graph.plan import always_trains, make_plan

# Large and prime, so that a product of sizes that holds for it holds for the batch.
BATCH = 7919
# Operations that change each number of one tensor for itself.
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
# Their results need no computing, which on the meta device is most of the time that all of them take.
SAME = ELEMENTWISE_ONE | {"batch_norm"}


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
        for node, step, (source, output) in zip(graph.nodes, plan.steps, plan.watched):
            if node.op in SAME and source >= 0 and values[source].is_floating_point():
                values[output] = values[source]
            else:
                step(values)
    return tuple(tuple(one.shape) for one in values[: graph.first_value(len(graph.nodes))])
