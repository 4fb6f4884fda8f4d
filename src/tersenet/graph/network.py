"""A network rebuilt from its op list: an nn.Module that needs no class of the user's.

READ FIRST
  1. `state_dict()` has the names of the original network; a weight held by a form appears as the form's own
     tensors under `<name>_form`.
  2. Tensors are fetched by name at each forward pass, so moving, loading and replacing them just works; a
     form computes its weight once per pass, also where the weight is used twice.
  3. batch_norm follows the mode of the layer that owns its running mean, dropout the mode of the network.
  4. A child may bear the name of a method (a layer called `dense`); `layer(name)` reaches it, and `plain()`
     is the same network without methods, for tools that look children up by attribute (torch.export,
     functional_call).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.graph.layer import FORM, Layer, put, read
from tersenet.graph.plan import Step, always_trains, make_plan
from tersenet.ir import Graph, Node, Parameter

WEIGHTED = ("linear", "conv1d", "conv2d", "conv_transpose2d", "embedding")
Watcher = Callable[[Tensor, Tensor], None]
SIGNALS = "signals_around"


class Around(nn.Module):
    """What becomes of the signals of one operation while a network trains; a number format of a device, say."""

    def before(self, given: Tensor) -> Tensor:
        """What the operation gets in place of its input."""
        return given

    def after(self, result: Tensor) -> Tensor:
        """What the others get in place of its output."""
        return result


@dataclass(frozen=True)
class WeightedLayer:
    """An operation with a stored weight.

    name    "conv1", the weight's name without ".weight"
    op      linear, conv1d, conv2d, conv_transpose2d or embedding
    weight  "conv1.weight"
    bias    "conv1.bias" or nothing
    index   the position of its node in the op list
    """

    name: str
    op: str
    weight: str
    bias: str | None
    index: int


class Network(Layer):
    """A graph with its tensors; runs, trains, and holds weights as forms."""

    def __init__(self, graph: Graph, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        missing, extra = set(graph.parameters) - set(tensors), set(tensors) - set(graph.parameters)
        if missing or extra:
            raise TersenetError(
                f"the tensors do not fit the graph: missing {_some(missing)}, not in the graph {_some(extra)}"
            )
        self.graph = graph
        for name in graph.parameters:
            put(self._owner(name), name.rpartition(".")[2], tensors[name], buffer=name in graph.buffers)
        self._replan()

    def _replan(self) -> None:
        self._plan = make_plan(self.graph)
        # Modules, not tensors: `.to`, `load_state_dict` and `deepcopy` then need no attention.
        self._sources = [(slot, name, *self._place(name)) for name, slot in self._plan.tensors.items()]
        self._modes = [(slot, self._mode_of(self.graph.nodes[node])) for node, slot in self._plan.flags.items()]
        self._frozen: dict[str, Tensor] = {}
        self._sizes = {tuple(one.shape for one in self.graph.inputs)}  # of inputs that are known to run

    def _mode_of(self, node: Node) -> tuple[Layer, bool]:
        """Whose mode a node follows, and whether it always trains: BatchNorm without running statistics."""
        if node.op != "batch_norm":
            return self, False
        for argument in ("running_mean", "weight", "bias"):
            given = node.get(argument)
            if isinstance(given, Parameter):
                return self._place(given.name)[0], always_trains(node)
        return self, always_trains(node)

    def _owner(self, name: str) -> Layer:
        """The layer that holds the tensor `name`, made where it is missing."""
        layer: Layer = self
        for part in name.split(".")[:-1]:
            child = layer._modules.get(part)
            if child is None:
                child = layer._modules[part] = Layer()
            assert isinstance(child, Layer)
            layer = child
        return layer

    def _place(self, name: str) -> tuple[Layer, str]:
        if name not in self.graph.parameters:
            raise TersenetError(f"the network has no tensor '{name}'; it has {_some(self.graph.parameters)}")
        return self._owner(name), name.rpartition(".")[2]

    # Running

    def forward(self, *inputs: Shaped[Tensor, "..."]) -> Any:
        """The output, or a tuple of them where there are several.

        Pictures may have other heights and widths than those in `graph.inputs` where no operation names them
        (tersenet.ir.sizes).
        """
        return self._run(inputs, None)

    def watch(self, inputs: tuple[Any, ...], watchers: Mapping[int, Watcher]) -> Any:
        """A forward pass that shows the nodes at the given positions: each is called with (input, output)."""
        return self._run(inputs, watchers)

    def _run(self, inputs: tuple[Any, ...], watchers: Mapping[int, Watcher] | None) -> Any:
        self._check_inputs(inputs)
        plan = self._plan
        values: list[Any] = [None] * plan.slots
        values[: len(inputs)] = inputs
        frozen = self._frozen
        for slot, name, layer, leaf in self._sources:
            values[slot] = frozen[name] if name in frozen else read(layer, leaf)
        for slot, (layer, always) in self._modes:
            values[slot] = always or layer.training
        around = self.around()
        for position, (step, dead) in enumerate(zip(plan.steps, plan.dead)):
            if position in around:
                _run_around(around[position], step, values, *plan.watched[position])
            else:
                step(values)
            if watchers and position in watchers:
                source, output = plan.watched[position]
                watchers[position](values[source], values[output])
            for slot in dead:
                values[slot] = None
        outputs = tuple(values[output.number] for output in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _check_inputs(self, inputs: tuple[Any, ...]) -> None:
        expected = self.graph.inputs
        if len(inputs) != len(expected):
            names = ", ".join(one.name for one in expected)
            raise TersenetError(f"{len(inputs)} inputs came; the network reads {len(expected)}: {names}")
        for given, one in zip(inputs, expected):
            if not isinstance(given, Tensor):
                raise TersenetError(f"input '{one.name}' is a {type(given).__name__}; a tensor was expected")
            if given.ndim != len(one.shape) + 1:
                raise TersenetError(
                    f"input '{one.name}' has shape {tuple(given.shape)}; expected (batch, "
                    f"{', '.join(map(str, one.shape))})"
                )
        shapes = tuple(tuple(map(int, given.shape[1:])) for given in inputs)  # tensors while torch traces
        if shapes not in self._sizes:
            from tersenet.graph.sizes import check_sizes  # which asks a Network for its shapes

            check_sizes(self, shapes)
            self._sizes.add(shapes)

    def put_around(self, modules: Mapping[int, Around]) -> None:
        """From now on these stand around the nodes at the given positions; none, and nothing does."""
        if not isinstance(self._modules.get(SIGNALS), _Signals | None):
            raise TersenetError(f"the name '{SIGNALS}' is taken; rename that layer in the original network")
        self._modules.pop(SIGNALS, None)
        if modules:
            self._modules[SIGNALS] = _Signals({str(position): module for position, module in modules.items()})

    def around(self) -> dict[int, Around]:
        """What stands around nodes, by position."""
        signals = self._modules.get(SIGNALS)
        return signals.by_position() if isinstance(signals, _Signals) else {}

    # Forms

    def attach(self, name: str, form: nn.Module) -> None:
        """From now on the weight `name` is what `form()` computes; the dense parameter goes."""
        layer, leaf = self._place(name)
        if layer.form_of(leaf) is not None:
            raise TersenetError(
                f"weight '{name}' is stored as {type(layer.form_of(leaf)).__name__} already; detach it first"
            )
        if leaf in layer._buffers:
            raise TersenetError(f"'{name}' is a buffer; only parameters take a form")
        if leaf + FORM in layer._modules or f"{name}{FORM}" in self.graph.parameters:
            raise TersenetError(f"the name '{name}{FORM}' is taken; rename that layer in the original network")
        dense = read(layer, leaf)
        form = form.to(dense.device)
        with torch.no_grad():
            computed = form()
        if computed.shape != dense.shape:
            raise TersenetError(
                f"{type(form).__name__} computes shape {tuple(computed.shape)} for weight '{name}' of shape "
                f"{tuple(dense.shape)}; fit it on that weight"
            )
        del layer._parameters[leaf]
        layer._modules[leaf + FORM] = form
        form.train(layer.training)

    def detach(self, name: str) -> None:
        """Back to a dense parameter of the values the form computes."""
        layer, leaf = self._place(name)
        if layer.form_of(leaf) is None:
            raise TersenetError(f"weight '{name}' is dense already; there is no form to detach")
        dense = self.dense(name).clone()
        del layer._modules[leaf + FORM]
        put(layer, leaf, dense, buffer=False)

    def form(self, name: str) -> nn.Module | None:
        """The form of the weight `name`, or nothing where it is dense."""
        layer, leaf = self._place(name)
        return layer.form_of(leaf)

    def forms(self) -> dict[str, nn.Module]:
        """All forms by the name of their weight, in file order."""
        found = {name: self.form(name) for name in self.graph.parameters}
        return {name: form for name, form in found.items() if form is not None}

    def dense(self, name: str) -> Shaped[Tensor, "..."]:
        """The current value of a stored tensor, without gradient; what is dense is shared, not copied."""
        if name in self._frozen:
            return self._frozen[name]
        layer, leaf = self._place(name)
        with torch.no_grad():
            return read(layer, leaf).detach()

    @contextmanager
    def frozen_weights(self) -> Iterator[None]:
        """Compute each form's weight once, for repeated evaluation; no gradients inside."""
        before = self._frozen
        with torch.no_grad():
            self._frozen = {name: self.dense(name) for name in self.forms()}
            try:
                yield
            finally:
                self._frozen = before

    # Looking and changing

    def layer(self, name: str) -> Layer:
        """The container at a dotted name; the network itself for ""."""
        found: nn.Module | None = self
        for part in name.split(".") if name else ():
            found = found._modules.get(part) if found is not None else None
        if not isinstance(found, Layer):
            raise TersenetError(f"the network has no layer '{name}'; see weighted_layers()")
        return found

    def weighted_layers(self) -> list[WeightedLayer]:
        """The layers with a stored weight in forward order; a shared weight is listed at each use."""
        return [layer for index, node in enumerate(self.graph.nodes) if (layer := _weighted(node, index)) is not None]

    def tensors(self) -> dict[str, Tensor]:
        """Every stored tensor's current dense value by name, in file order, without gradient."""
        return {name: self.dense(name) for name in self.graph.parameters}

    def set_tensor(self, name: str, tensor: Shaped[Tensor, "..."]) -> None:
        """Replace a dense tensor; its shape may change."""
        layer, leaf = self._place(name)
        form = layer.form_of(leaf)
        if form is not None:
            raise TersenetError(f"weight '{name}' is stored as {type(form).__name__}; detach it first")
        old = read(layer, leaf)
        if tensor.dtype != old.dtype:
            raise TersenetError(f"tensor '{name}' is {old.dtype}; a {tensor.dtype} came")
        fresh = nn.Parameter(tensor.detach(), requires_grad=old.requires_grad) if leaf in layer._parameters else tensor
        put(layer, leaf, fresh, buffer=leaf in layer._buffers)

    def clone(self) -> Network:
        """A deep copy that shares nothing."""
        return copy.deepcopy(self)

    def plain(self) -> nn.Module:
        """This network, its tensors shared, as a module with no names besides those of its children."""
        return _Plain(self)

    def extra_repr(self) -> str:
        inputs = ", ".join(f"{one.name} {one.dtype} {list(one.shape)}" for one in self.graph.inputs)
        return f"{inputs} -> {', '.join(self.graph.output_names)}; {len(self.graph.nodes)} operations"


class _Signals(nn.ModuleDict):
    def by_position(self) -> dict[int, Around]:
        return {int(position): module for position, module in self.items() if isinstance(module, Around)}


def _run_around(module: Around, step: Step, values: list[Any], source: int, output: int) -> None:
    given = values[source]
    values[source] = module.before(given)
    step(values)
    values[source] = given
    values[output] = module.after(values[output])


class _Plain(nn.Module):
    _network: Network

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.__dict__["_network"] = network  # not a child: its names would get a prefix
        self._modules, self._parameters, self._buffers = (
            network._modules,
            network._parameters,
            network._buffers,
        )
        self.training = network.training

    def train(self, mode: bool = True) -> _Plain:
        self._network.train(mode)
        return super().train(mode)

    def forward(self, *inputs: Tensor) -> Any:
        return self._network._run(inputs, None)


def _weighted(node: Node, index: int) -> WeightedLayer | None:
    if node.op not in WEIGHTED:
        return None
    weight = node.arguments["weight"]
    if not isinstance(weight, Parameter):  # computed by other operations
        return None
    bias = node.arguments.get("bias")
    name = weight.name.removesuffix(".weight")
    return WeightedLayer(name, node.op, weight.name, bias.name if isinstance(bias, Parameter) else None, index)


def _some(names: Any, most: int = 8) -> str:
    """A few of the names, for a sentence."""
    listed = sorted(names)
    if not listed:
        return "none"
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
