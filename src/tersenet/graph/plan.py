"""The op list as a list of Python closures over numbered slots, made once, so that a forward pass is a short
loop.

Slots, in order: the values of the graph, its stored tensors, then what changes from call to call. Two
meanings are wider than PyTorch's, because the batch is free:
  reshape  a 0 in `shape` copies the input's size at that position, -1 is inferred
  expand   a 0 in `size` is the batch (axis 0 of the first input), -1 keeps the input's size
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tersenet.ir import OPS, Graph, Node, Parameter, Value

Step = Callable[[list[Any]], None]


@dataclass(frozen=True)
class Plan:
    """What a forward pass needs besides the tensors.

    steps     one closure per node, in order
    dead      per node, the slots that nothing reads after it
    tensors   stored tensor -> slot, only those that are read
    flags     node -> slot of the truth value "this node trains"
    slots     how many there are
    watched   per node, the slots of its first tensor argument that is a value, and of its first output
    """

    steps: tuple[Step, ...]
    dead: tuple[tuple[int, ...], ...]
    tensors: dict[str, int]
    flags: dict[int, int]
    slots: int
    watched: tuple[tuple[int, int], ...]


def operator(target: str) -> Any:
    """The PyTorch operator of a name such as "conv2d.default"."""
    name, overload = target.split(".")
    return getattr(getattr(torch.ops.aten, name), overload)


def make_plan(graph: Graph) -> Plan:
    count = len(graph.inputs) + sum(OPS[node.op].outputs for node in graph.nodes)
    tensors: dict[str, int] = {}
    for node in graph.nodes:
        for one in node.tensors():
            if isinstance(one, Parameter):
                tensors.setdefault(one.name, count + len(tensors))
    slots = count + len(tensors)
    flags: dict[int, int] = {}
    steps: list[Step] = []
    reads: list[set[int]] = []
    watched: list[tuple[int, int]] = []
    output = len(graph.inputs)
    for position, node in enumerate(graph.nodes):

        def slot(one: Value | Parameter) -> int:
            return one.number if isinstance(one, Value) else tensors[one.name]

        if node.op in ("batch_norm", "dropout", "feature_dropout"):
            flags[position] = slots
            slots += 1
        steps.append(_step(node, slot, flags.get(position), output))
        values = [one.number for one in node.tensors() if isinstance(one, Value)]
        reads.append(set(values))
        watched.append((values[0] if values else -1, output))
        output += OPS[node.op].outputs
    return Plan(tuple(steps), _dead(graph, reads, count), tensors, flags, slots, tuple(watched))


def always_trains(node: Node) -> bool:
    """Whether a node follows no mode: BatchNorm without running statistics normalises by the batch, also in eval mode."""
    return node.op == "batch_norm" and node.get("running_mean") is None


def _dead(graph: Graph, reads: list[set[int]], count: int) -> tuple[tuple[int, ...], ...]:
    """For each node, the values read or made there for the last time; input 0 stays, it tells the batch."""
    last = dict.fromkeys((output.number for output in graph.outputs), len(graph.nodes))
    last[0] = len(graph.nodes)
    dead: list[tuple[int, ...]] = []
    made = count
    for position in range(len(graph.nodes) - 1, -1, -1):
        outputs = OPS[graph.nodes[position].op].outputs
        made -= outputs
        ends = [slot for slot in (*sorted(reads[position]), *range(made, made + outputs)) if slot not in last]
        last.update(dict.fromkeys(ends, position))
        dead.append(tuple(ends))
    return tuple(reversed(dead))


def _step(node: Node, slot: Callable[[Value | Parameter], int], flag: int | None, output: int) -> Step:
    if node.op == "reshape" and 0 in node.arguments["shape"]:
        return _reshape(slot(node.arguments["self"]), node.arguments["shape"], output)
    if node.op == "expand" and 0 in node.arguments["size"]:
        return _expand(slot(node.arguments["self"]), node.arguments["size"], output)
    if node.op == "to_float":
        return _to_float(slot(node.arguments["self"]), output)
    return _call(node, slot, flag, output)


def _call(node: Node, slot: Callable[[Value | Parameter], int], flag: int | None, output: int) -> Step:
    """Arguments in the order of PyTorch's schema: constants stay, slots are filled in at each call."""
    op = OPS[node.op]
    function = operator(op.target)
    own = {argument.name: argument for argument in op.arguments}
    template: list[Any] = []
    keywords: dict[str, Any] = {}
    fills: list[tuple[int, int]] = []
    lists: list[tuple[int, tuple[int, ...]]] = []
    for argument in function._schema.arguments:
        given: Any
        if argument.name in own:
            given = node.get(argument.name)
        elif argument.name in ("training", "train"):
            assert flag is not None
            fills.append((len(template), flag))
            given = None
        else:
            given = argument.default_value if argument.has_default_value() else True  # cudnn_enabled
        if isinstance(given, (Value, Parameter)):
            fills.append((len(template), slot(given)))
            given = None
        elif isinstance(given, tuple) and argument.name in own and own[argument.name].kind == "x*":
            lists.append((len(template), tuple(slot(one) for one in given)))
            given = None
        elif isinstance(given, tuple):
            given = list(given)
        if argument.kwarg_only:
            if given is not None:
                keywords[argument.name] = given
        else:
            template.append(given)
    last = output + op.outputs

    def step(values: list[Any]) -> None:
        arguments = template.copy()
        for position, number in fills:
            arguments[position] = values[number]
        for position, numbers in lists:
            arguments[position] = [values[number] for number in numbers]
        if last == output + 1:
            values[output] = function(*arguments, **keywords)
        else:
            values[output:last] = function(*arguments, **keywords)

    return step


def _reshape(source: int, shape: tuple[int, ...], output: int) -> Step:
    def step(values: list[Any]) -> None:
        given = values[source]
        values[output] = given.reshape([size or given.shape[axis] for axis, size in enumerate(shape)])

    return step


def _expand(source: int, size: tuple[int, ...], output: int) -> Step:
    def step(values: list[Any]) -> None:
        batch = values[0].shape[0]
        values[output] = values[source].expand([one or batch for one in size])

    return step


def _to_float(source: int, output: int) -> Step:
    def step(values: list[Any]) -> None:
        values[output] = values[source].float()

    return step
