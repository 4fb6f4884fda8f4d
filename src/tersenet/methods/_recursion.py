"""Second derivatives sent back one by one, each output's alone: the recursion of LeCun, Denker and Solla 1990.

READ FIRST
  1. With a an operation's input and o its output, d2E/da_j^2 = sum_i (do_i/da_j)^2 d2E/do_i^2 (Optimal Brain Damage,
     NIPS 2, eq. 6 and 7, with the Levenberg-Marquardt approximation: the term with the second derivative of the
     activation is left out, so that no curvature is negative). Terms between two outputs are dropped at each step.
  2. A weight that meets x_j and feeds o_i has d2E/dw^2 = sum x_j^2 d2E/do_i^2 over examples and places (eq. 5 and 3).
  3. It is exact where nothing is dropped: for mean squared error up to one hidden layer. Elsewhere it differs from
     Gauss-Newton by the terms between outputs.
  4. (do/da)^2 follows from the kind of operation: its entries are 0, 1 or -1; or a is changed number by number; or it
     is a sum with coefficients that can be squared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.graph.plan import Plan, make_plan
from tersenet.ir import Node, Parameter, Value

# Every output is one of the inputs, or a sum or difference of such.
MOVED = frozenset(
    {
        "relu",
        "relu6",
        "hardtanh",
        "clamp",
        "dropout",
        "feature_dropout",
        "max_pool1d",
        "max_pool2d",
        "amax",
        "maximum",
        "minimum",
        "add",
        "sub",
        "add_scalar",
        "sub_scalar",
        "neg",
        "abs",
        "sum",
        "where",
        "cat",
        "stack",
        "reshape",
        "flatten",
        "unsqueeze",
        "squeeze",
        "permute",
        "transpose",
        "slice",
        "select",
        "expand",
        "pad",
        "repeat_interleave",
        "flip",
        "channel_shuffle",
        "pixel_shuffle",
    }
)
# Every output depends on one number of the input.
ALONE = frozenset(
    {
        "batch_norm",
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
        "prelu",
        "mul_scalar",
        "div_scalar",
        "rsub_scalar",
        "pow_scalar",
        "sqrt",
        "rsqrt",
        "exp",
        "log",
        "sin",
        "cos",
        "mul",
        "div",
    }
)
# A sum whose coefficients are a stored weight.
WEIGHTED = frozenset({"linear", "conv1d", "conv2d", "conv_transpose2d"})
# A mean over windows of one size.
MEAN = frozenset({"mean", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"})


def curvatures_back(
    network: Network, inputs: tuple[Tensor, ...], at_output: Callable[[Any], Tensor]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """From the last weighted layer to the first: its node's number, its input, and d2E/do^2 for each of its outputs.

    at_output   from the network's output to d2E/dz^2, example by example
    """
    plan = make_plan(network.graph)
    values = _forward(network, plan, inputs)
    (end,) = network.graph.outputs
    waiting: dict[int, Tensor] = {end.number: at_output(values[end.number])}
    for position in range(len(network.graph.nodes) - 1, -1, -1):
        node, result = network.graph.nodes[position], plan.watched[position][1]
        curvature = waiting.pop(result, None)
        if curvature is None:
            continue
        if node.op in WEIGHTED:
            yield position, values[plan.watched[position][0]], curvature
        sources = sorted({one.number for one in node.tensors() if isinstance(one, Value)})
        for source in sources:
            if source >= len(network.graph.inputs) and values[source].is_floating_point():
                back = _through(plan, position, node, values, source, curvature)
                waiting[source] = waiting[source] + back if source in waiting else back


def _forward(network: Network, plan: Plan, inputs: tuple[Tensor, ...]) -> list[Any]:
    """Every value of the graph; stored tensors lie in their slots as well."""
    values: list[Any] = [None] * plan.slots
    values[: len(inputs)] = inputs
    for name, slot in plan.tensors.items():
        values[slot] = network.dense(name)
    for slot in plan.flags.values():
        values[slot] = False
    with torch.no_grad():
        for step in plan.steps:
            step(values)
    return values


def _through(plan: Plan, position: int, node: Node, values: list[Any], source: int, curvature: Tensor) -> Tensor:
    """What arrives at the value `source` through one node."""
    if node.op in MOVED and node.arguments.get("alpha", 1) == 1:
        return _pulled(plan, position, values, source, curvature).abs()
    if node.op in ALONE and values[source].shape == curvature.shape:
        return _pulled(plan, position, values, source, torch.ones_like(curvature)).square() * curvature
    weight = node.arguments.get("weight")
    if node.op in WEIGHTED and isinstance(weight, Parameter):
        squared = values.copy()
        squared[plan.tensors[weight.name]] = values[plan.tensors[weight.name]].square()
        return _pulled(plan, position, squared, source, curvature)
    share = _share(node, values[source], curvature) if node.op in MEAN else None
    if share is None:
        raise TersenetError(f"the recursion has no rule for this use of operation '{node.op}'; take gauss_newton")
    return _pulled(plan, position, values, source, curvature) * share


def _pulled(plan: Plan, position: int, values: list[Any], source: int, curvature: Tensor) -> Tensor:
    """The transposed Jacobian of a node by one of its inputs, times something at its output."""
    with torch.enable_grad():
        inside = values.copy()
        inside[source] = values[source].detach().requires_grad_()
        plan.steps[position](inside)
        (back,) = torch.autograd.grad(inside[plan.watched[position][1]], inside[source], curvature)
    return back


def _share(node: Node, given: Tensor, result: Tensor) -> float | None:
    """The coefficient of a mean, where it is the same everywhere."""
    if node.op.startswith("avg_pool"):
        padded = any(node.get("padding")) and not node.get("count_include_pad")
        if padded or node.get("ceil_mode") or node.arguments.get("divisor_override") is not None:
            return None
        return 1 / torch.Size(node.get("kernel_size")).numel()
    even = node.op == "mean" or all(a % b == 0 for a, b in zip(given.shape, result.shape))
    return result.numel() / given.numel() if even else None
