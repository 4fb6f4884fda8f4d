"""A network as a list of typed operations over named tensors.

Values are numbered: the inputs first, then each node's outputs in order. A tensor argument is a Value (such a
number) or a Parameter (the name of a stored tensor). Invariants, held by the constructor:
  1. a node refers only to values before it and to parameters that are declared;
  2. each node has the arguments of its operation, of the right kind, defaults left out;
  3. parameter names are distinct dotted words; a word may have slashes inside (Caffe's names do), never at its ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tersenet.errors import TersenetError
from tersenet.ir.ops import OPS, REQUIRED, Argument

DTYPES = ("float32", "int64", "bool", "float16", "int32", "float64", "bfloat16")
MAX_NAME = 1024
MAX_DIMS = 8
MAX_SIZE = 2**31
MAX_SIDE = 2**16

# ASCII: what a letter is beyond it depends on the version of Unicode, and a file must not.
_NAME_PART = re.compile(r"[\w-]+(/[\w-]+)*", re.ASCII)


@dataclass(frozen=True)
class Value:
    """The number of a value: an input or the output of an earlier node."""

    number: int


@dataclass(frozen=True)
class Parameter:
    """The name of a stored tensor."""

    name: str


@dataclass(frozen=True)
class Node:
    """One operation with its arguments by name; an argument at its default is absent."""

    op: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[Value | Parameter]:
        """The tensor arguments in order, lists flattened, absent ones left out."""
        found: list[Value | Parameter] = []
        for argument in OPS[self.op].arguments:
            given = self.arguments.get(argument.name)
            if argument.kind == "x*" and given:
                found.extend(given)
            elif argument.kind in ("x", "x?") and given is not None:
                found.append(given)
        return found

    def get(self, name: str) -> Any:
        """The argument's value, or its default."""
        if name in self.arguments:
            return self.arguments[name]
        return next(argument.default for argument in OPS[self.op].arguments if argument.name == name)


@dataclass(frozen=True)
class Preprocess:
    """What turns a picture with bytes 0 to 255 into the network's input: (x * scale - mean) / std by channel.

    channels   "rgb" or "bgr", the order the network expects
    resize     the side to which the picture is resized (bilinear), or 0
    crop       the side of the central crop before that, or 0
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: str = "rgb"
    resize: int = 0
    crop: int = 0

    def __post_init__(self) -> None:
        _check(self.channels in ("rgb", "bgr"), f"channels are '{self.channels}'; expected rgb or bgr")
        for side in (self.resize, self.crop):
            _check(0 <= side < MAX_SIDE, f"a picture of side {side}; expected 0 to {MAX_SIDE - 1}")


@dataclass(frozen=True)
class Input:
    """One input: its name, dtype, and shape without the batch axis, which is free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=True)
class Graph:
    """A whole network without its weights.

    parameters   name -> dtype of every stored tensor, in file order
    buffers      those of them that do not train: running statistics, constants
    """

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    output_names: tuple[str, ...]
    parameters: dict[str, str]
    preprocess: Preprocess | None = None
    buffers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, dtype in self.parameters.items():
            _check_name(name)
            _check(dtype in DTYPES, f"tensor '{name}' has dtype {dtype}; known are {', '.join(DTYPES)}")
        _check(self.buffers <= set(self.parameters), "a buffer is not among the declared tensors")
        for given in self.inputs:
            _check_name(given.name)
            _check(given.dtype in DTYPES, f"input '{given.name}' has dtype {given.dtype}")
            _check(
                len(given.shape) < MAX_DIMS and all(0 <= size < MAX_SIZE for size in given.shape),
                f"input '{given.name}' has shape {given.shape[:MAX_DIMS]}; at most {MAX_DIMS - 1} sizes below 2**31",
            )
        values = len(self.inputs)
        for position, node in enumerate(self.nodes):
            self._check_node(node, values, f"node {position} ({node.op})")
            values += OPS[node.op].outputs
        _check(len(self.output_names) == len(self.outputs), "outputs and their names differ in number")
        for output in self.outputs:
            _check(0 <= output.number < values, f"an output is value {output.number}; there are {values}")

    def _check_node(self, node: Node, values: int, where: str) -> None:
        _check(node.op in OPS, f"{where}: unknown operation")
        op = OPS[node.op]
        known = {argument.name: argument for argument in op.arguments}
        extra = set(node.arguments) - set(known)
        _check(not extra, f"{where}: no argument {', '.join(sorted(extra))}")
        for argument in op.arguments:
            if argument.name not in node.arguments:
                _check(argument.default is not REQUIRED, f"{where}: argument {argument.name} is missing")
                continue
            given = node.arguments[argument.name]
            _check(_is_of_kind(given, argument), f"{where}: {argument.name}={given!r} is not of kind {argument.kind}")
            _check(
                argument.default is REQUIRED or given != argument.default or type(given) is not type(argument.default),
                f"{where}: {argument.name} is given its default",
            )
        for tensor in node.tensors():
            if isinstance(tensor, Value):
                _check(0 <= tensor.number < values, f"{where}: value {tensor.number} does not come before it")
            else:
                _check(tensor.name in self.parameters, f"{where}: tensor '{tensor.name}' is not declared")

    def first_value(self, position: int) -> int:
        """The number of the first output of the node at `position`."""
        return len(self.inputs) + sum(OPS[node.op].outputs for node in self.nodes[:position])


def make_node(op: str, **arguments: Any) -> Node:
    """A node with defaults left out and lists as tuples."""
    _check(op in OPS, f"operation '{op}' is unknown")
    extra = set(arguments) - {argument.name for argument in OPS[op].arguments}
    _check(not extra, f"{op} has no argument {', '.join(sorted(extra))}")
    kept = {}
    for argument in OPS[op].arguments:
        if argument.name not in arguments:
            continue
        given = arguments[argument.name]
        if isinstance(given, list):
            given = tuple(given)
        if argument.kind.rstrip("?") == "f" and isinstance(given, int) and not isinstance(given, bool):
            given = float(given)
        if argument.default is REQUIRED or given != argument.default:
            kept[argument.name] = given
    return Node(op, kept)


def _check(condition: bool, sentence: str) -> None:
    if not condition:
        raise TersenetError(sentence)


def _check_name(name: str) -> None:
    _check(
        0 < len(name) <= MAX_NAME and all(_NAME_PART.fullmatch(part) for part in name.split(".")),
        f"'{name[:80]}' is not a dotted name of letters, digits, _, - and inner slashes, at most {MAX_NAME} long",
    )


def _is_int(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and -(2**62) < given < 2**62


def _is_of_kind(given: Any, argument: Argument) -> bool:
    kind = argument.kind
    if given is None:
        return kind.endswith("?")
    base = kind.rstrip("?")
    if base == "x":
        return isinstance(given, (Value, Parameter))
    if base == "x*":
        return isinstance(given, tuple) and all(isinstance(one, (Value, Parameter)) for one in given)
    if base == "i":
        return _is_int(given)
    if base == "I":
        return isinstance(given, tuple) and all(_is_int(one) for one in given)
    if base == "f":
        return isinstance(given, float)
    if base == "n":
        return _is_int(given) or isinstance(given, float)
    if base == "b":
        return isinstance(given, bool)
    return isinstance(given, str)
