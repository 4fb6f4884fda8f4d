"""A traced graph to ir nodes: aliases vanish, spellings become one, what is constant is computed now.

READ FIRST
  1. `found` says what each traced value became: a Value, a Parameter, a list of them, or a torch.Tensor that
     does not depend on the inputs (it becomes a stored constant only if an operation that stays reads it).
  2. The trace keeps in-place operations. Each becomes its plain operation, and later readers of the changed
     value read the result; where another view of the same memory is read later, the network is refused.
  3. Sizes come from the traced shapes, never from arithmetic on sizes; the batch is the only free one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.ir import OPS, REQUIRED, Node, Parameter, Value, make_node


class CaptureError(TersenetError):
    """A network that cannot be written as an op list; the sentence names the operation and where it is."""


Found = Any  # Value | Parameter | Tensor | list[Found]
Rule = Callable[["Translation", torch.fx.Node], Found]
RULES: dict[str, Rule] = {}

_BY_TARGET = {op.target: op.name for op in OPS.values()}
# Arguments of PyTorch's that the op list does not carry: they change nothing that is computed in eval mode.
_IGNORED = {
    ("batch_norm", "cudnn_enabled"),
    ("batch_norm", "training"),
    ("dropout", "train"),
    ("feature_dropout", "train"),
    ("embedding", "scale_grad_by_freq"),
    ("embedding", "sparse"),
    ("layer_norm", "cudnn_enable"),
    ("group_norm", "cudnn_enabled"),
}


def rule(*targets: str) -> Callable[[Rule], Rule]:
    """Declare the translation of PyTorch operators that are not rows of the op table."""

    def declare(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(targets, function))
        return function

    return declare


class Translation:
    """One pass over a traced graph."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self.found: dict[torch.fx.Node, Found] = {}
        self.nodes: list[Node] = []
        self.inputs = 0
        self.values = 0
        self.constants: dict[str, Tensor] = {}
        self.taken: set[str] = set()
        self.constant_names: dict[int, str] = {}
        self.memory: dict[torch.fx.Node, torch.fx.Node] = {}  # view -> the value whose memory it shows
        self.order: dict[torch.fx.Node, int] = {}
        self.modules: dict[str, nn.Module] = {}
        self._alive: list[Tensor] = []  # keeps the ids in constant_names unique

    # What comes in

    def add_input(self, node: torch.fx.Node) -> None:
        self.found[node] = Value(self.values)
        self.values += 1
        self.inputs += 1

    def add_parameter(self, node: torch.fx.Node, name: str) -> None:
        self.found[node] = Parameter(name)
        self.taken.add(name)

    def add_constant(self, node: torch.fx.Node, name: str, tensor: Tensor) -> None:
        self.found[node] = tensor
        self.constant_names[id(tensor)] = name
        self._alive.append(tensor)

    # The pass

    def translate(
        self, graph: torch.fx.Graph, modules: dict[str, nn.Module]
    ) -> tuple[tuple[Node, ...], tuple[Value, ...], dict[str, Tensor]]:
        """The nodes that the outputs need, the outputs, and the constants by name."""
        self.modules = modules
        self.order = {node: position for position, node in enumerate(graph.nodes)}
        for node in graph.nodes:
            if node.op == "call_function":
                self._call(node)
        outputs = []
        results: Any = graph.output_node().args[0]
        for result in results:
            found = self.found[result]
            if not isinstance(found, Value):
                raise CaptureError(
                    f"an output of the network does not depend on its input {users_line(result)}".strip()
                )
            outputs.append(found)
        return self._needed(outputs)

    def _call(self, node: torch.fx.Node) -> None:
        if node.target is operator.getitem:
            source = node.args[0]
            self.found[node] = self.found[source][node.args[1]]  # type: ignore[index]
            if source in self.memory:
                self.memory[node] = self.memory[source]  # type: ignore[index]
            return
        if not isinstance(node.meta.get("val"), (Tensor, list, tuple)):
            return  # arithmetic on sizes, assertions: shapes carry what matters
        name = _target(node)
        if name is None:
            why = "gradients are switched inside forward; use requires_grad_(False) on those parameters instead"
            raise self.refusal(node, str(node.target), why if "set_grad" in str(node.target) else "")
        plain = _plain(name)
        in_place = plain != name
        if not node.users and not in_place:
            return
        if self._is_constant(node):
            found = self._compute(node)
        elif plain in RULES:
            found = RULES[plain](self, node)
        elif plain in _BY_TARGET:
            found = self.generic(node, _BY_TARGET[plain])
        else:
            raise self.refusal(node, name)
        self.found[node] = found
        self._remember_memory(node, in_place)

    def _is_constant(self, node: torch.fx.Node) -> bool:
        """Whether nothing it reads depends on the inputs, the stored parameters or the batch."""
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            return False
        for given in node.all_input_nodes:
            if isinstance(given.meta.get("val"), (torch.SymInt, torch.SymBool, torch.SymFloat)):
                return False
            if not isinstance(self.found.get(given), Tensor):
                return False
        return all(isinstance(size, int) for size in _shape(node))

    def _compute(self, node: torch.fx.Node) -> Found:
        def real(given: torch.fx.Node) -> Tensor:
            return self.found[given].clone()  # an in-place operation must not reach the model

        args = torch.fx.map_arg(node.args, real)
        kwargs = torch.fx.map_arg(node.kwargs, real)
        result = node.target(*args, **kwargs)  # type: ignore[operator]
        return result.detach() if isinstance(result, Tensor) else list(result)

    def _remember_memory(self, node: torch.fx.Node, in_place: bool) -> None:
        source = next(iter(node.all_input_nodes), None)
        if source is None or not (in_place or _is_view(node)):
            return
        root = self.memory.get(source, source)
        self.memory[node] = root
        if not in_place:
            return
        changed = source
        if isinstance(self.found[changed], Parameter) or (
            root.op == "placeholder" and isinstance(self.found[root], Parameter)
        ):
            raise self.refusal(
                node, str(node.target), "it changes a stored tensor in place, and a file cannot keep state"
            )
        same = keys(_shape(changed))
        now = self.order[node]
        for other, its_root in [(root, root), *self.memory.items()]:
            if its_root is not root or other is node or not any(self.order[user] > now for user in other.users):
                continue
            if keys(_shape(other)) == same and _is_whole(other, root) and _is_whole(changed, root):
                self.found[other] = self.found[node]
            else:
                raise self.refusal(
                    node,
                    str(node.target),
                    "it changes part of a tensor that is read again later; write it without `[...] =`",
                )

    # Pieces that rules use

    def get(self, node: torch.fx.Node, name: str, default: Any = None) -> Any:
        """An argument of the traced call by its name in PyTorch's schema."""
        for position, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
            if argument.name == name:
                if position < len(node.args):
                    return node.args[position]
                return node.kwargs.get(name, argument.default_value if argument.has_default_value() else default)
        return default

    def tensor(self, given: Any, node: torch.fx.Node) -> Value | Parameter:
        """The value or stored tensor that a traced value became."""
        found = self.found[given]
        if isinstance(found, Tensor):
            return self.store(found)
        if isinstance(found, (Value, Parameter)):
            return found
        raise self.refusal(node, str(node.target), "it reads a list of tensors as one")

    def store(self, tensor: Tensor) -> Parameter:
        """A constant under a name, once for equal tensors."""
        for name, other in self.constants.items():
            if other.dtype == tensor.dtype and torch.equal(other, tensor):
                return Parameter(name)
        name = self.constant_names.get(id(tensor), "")
        number = len(self.constants)
        while not name or name in self.taken:
            name, number = f"constant{number}", number + 1
        self.taken.add(name)
        self.constants[name] = tensor
        return Parameter(name)

    def emit(self, op: str, /, **arguments: Any) -> Any:
        """Append a node; its value, or a list of them."""
        self.nodes.append(make_node(op, **arguments))
        first, self.values = self.values, self.values + OPS[op].outputs
        made = [Value(number) for number in range(first, self.values)]
        return made[0] if len(made) == 1 else made

    def is_batch(self, size: Any) -> bool:
        return isinstance(size, torch.SymInt) and size.node.expr == self.batch

    def generic(self, node: torch.fx.Node, op: str, /, **replaced: Any) -> Found:
        """A row of the op table: arguments by name, constants canonical."""
        arguments: dict[str, Any] = {}
        for argument in node.target._schema.arguments:  # type: ignore[union-attr]
            name = argument.name
            given = replaced[name] if name in replaced else self.get(node, name)
            row = next((one for one in OPS[op].arguments if one.name == name), None)
            if row is None:
                default = argument.default_value if argument.has_default_value() else None
                if (
                    (op, name) in _IGNORED
                    or given is None
                    or given == default
                    or self._dtype_is_same(name, given, node)
                ):
                    continue
                raise self.refusal(node, str(node.target), f"its argument {name}={given} is not supported")
            if given is None and row.default is None:
                continue
            arguments[name] = self._converted(given, row.kind, node, name)
        return self.emit(op, **_canonical(op, arguments))

    def _dtype_is_same(self, name: str, given: Any, node: torch.fx.Node) -> bool:
        source = node.all_input_nodes[0].meta["val"]
        return name == "dtype" and given == source.dtype

    def _converted(self, given: Any, kind: str, node: torch.fx.Node, name: str) -> Any:
        base = kind.rstrip("?")
        if base == "x":
            if isinstance(given, (Value, Parameter)):
                return given
            if not isinstance(given, torch.fx.Node) or given not in self.found:
                raise self.refusal(
                    node,
                    str(node.target),
                    f"its argument {name} is not a tensor; the batch size is no number",
                )
            return self.tensor(given, node)
        if base == "x*":
            return tuple(self._converted(one, "x", node, name) for one in given)
        if base == "I":
            return tuple(self._number(one, node, name) for one in ([given] if isinstance(given, int) else given))
        if base in ("i", "n"):
            return self._number(given, node, name)
        if base == "f":
            return float(self._number(given, node, name))
        return given

    def _number(self, given: Any, node: torch.fx.Node, name: str) -> Any:
        if isinstance(given, torch.fx.Node):
            given = given.meta.get("val")
        if isinstance(given, bool):
            return int(given)
        if isinstance(given, (int, float)):
            return given
        raise self.refusal(
            node,
            str(node.target),
            f"its argument {name} depends on the batch size, or on a value, and must be a number",
        )

    # What comes out

    def _needed(self, outputs: list[Value]) -> tuple[tuple[Node, ...], tuple[Value, ...], dict[str, Tensor]]:
        """Leave out the nodes that no output needs, and number the values anew."""
        needed = {output.number for output in outputs}
        first = self.values
        kept = []
        for node in reversed(self.nodes):
            first -= OPS[node.op].outputs
            if needed & set(range(first, first + OPS[node.op].outputs)):
                needed |= {one.number for one in node.tensors() if isinstance(one, Value)}
                kept.append((first, node))
        numbers = {number: number for number in range(self.inputs)}
        for old, node in reversed(kept):
            for offset in range(OPS[node.op].outputs):
                numbers[old + offset] = len(numbers)
        nodes = tuple(renumbered(node, numbers) for _, node in reversed(kept))
        read = {one.name for node in nodes for one in node.tensors() if isinstance(one, Parameter)}
        constants = {name: tensor for name, tensor in self.constants.items() if name in read}
        return nodes, tuple(Value(numbers[output.number]) for output in outputs), constants

    def refusal(self, node: torch.fx.Node, target: str, why: str = "") -> CaptureError:
        reason = why or "it is not one of the operations that a file can name"
        near = f"supported are {', '.join(OPS)}" if not why else "rewrite that line"
        return CaptureError(f"the network uses {target} {users_line(node)}: {reason}; {near}")


def renumbered(node: Node, numbers: dict[int, int]) -> Node:
    """The same operation on values under their new numbers."""

    def of(given: Any) -> Any:
        if isinstance(given, Value):
            return Value(numbers[given.number])
        if isinstance(given, tuple):
            return tuple(of(one) for one in given)
        return given

    return Node(node.op, {name: of(given) for name, given in node.arguments.items()})


def users_line(node: torch.fx.Node) -> str:
    """Where in the user's code: the innermost line outside of torch, and the module's path."""
    places = []
    trace = str(node.meta.get("stack_trace") or "").strip().splitlines()
    for index, line in enumerate(trace):
        path = line.strip().replace("\\", "/")
        if path.startswith("File ") and "-packages/torch/" not in path and not path.startswith('File "torch/'):
            code = trace[index + 1].strip() if index + 1 < len(trace) else ""
            places.append(f"{line.strip()}: {code}")
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path and not path.startswith("_")]
    said = places[-1:] + ([f"in module '{paths[-1]}'"] if paths else [])
    return f"({'; '.join(said)})" if said else "(in forward)"


def _target(node: torch.fx.Node) -> str | None:
    """ "conv2d.default" for torch.ops.aten.conv2d.default, nothing for what is not aten."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
        return str(target).removeprefix("aten.")
    return None


def _plain(name: str) -> str:
    """The same without the underscore of the in-place form."""
    stem, _, overload = name.partition(".")
    return f"{stem[:-1]}.{overload}" if stem.endswith("_") and not stem.endswith("__") else name


def _shape(node: torch.fx.Node) -> tuple[Any, ...]:
    """Sizes: integers, or symbols as torch.SymInt; empty for what is not one tensor."""
    val = node.meta.get("val")
    return tuple(val.shape) if isinstance(val, Tensor) else ()


def keys(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sizes that can be compared without a guard."""
    return tuple(size if isinstance(size, int) else str(size.node.expr) for size in shape)


def _is_view(node: torch.fx.Node) -> bool:
    """Whether the result may share the memory of the first argument."""
    returned = node.target._schema.returns  # type: ignore[union-attr]
    name = _target(node) or ""
    may = any(one.alias_info is not None for one in returned)
    return may or name.partition(".")[0] in (
        "reshape",
        "flatten",
        "contiguous",
        "to",
        "dropout",
        "feature_dropout",
        "expand_as",
    )


def _is_whole(node: torch.fx.Node, root: torch.fx.Node) -> bool:
    """Whether a view shows all of the memory in the same order: the root, or only aliases away from it."""
    while node is not root:
        name = (_target(node) or "").partition(".")[0]
        if not (name in ("alias", "detach", "contiguous", "to", "lift_fresh_copy", "dropout") or name.endswith("_")):
            return False
        node = node.all_input_nodes[0]
    return True


def _canonical(op: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One spelling for each meaning: full-length sizes, no stride that equals the kernel, no pads of
    nothing.
    """
    for row in OPS[op].arguments:
        given = arguments.get(row.name)
        if row.kind == "I" and row.default is not REQUIRED and given and len(given) == 1 and len(row.default) > 1:
            arguments[row.name] = given * len(row.default)
    if "kernel_size" in arguments:
        dims = int(op[-2])
        for name in ("kernel_size", "stride"):
            given = arguments.get(name, ())
            arguments[name] = given * dims if len(given) == 1 else given
        if arguments["stride"] == arguments["kernel_size"]:
            arguments["stride"] = ()
    return arguments


import tersenet.graph._rules  # noqa: E402, F401  (fills RULES)
