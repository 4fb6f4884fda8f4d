"""An nn.Module becomes an op list: torch.export traces it, `_translate` writes it down.

The network is traced in eval mode with a free batch axis, on PyTorch's training IR, in which convolutions,
norms and attention stay whole. What only happens while training (random depth, noise) is therefore not
captured, except batch_norm and dropout, whose nodes follow the mode of the rebuilt network.
"""

from __future__ import annotations

import inspect
import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.export.graph_signature import InputKind

from tersenet.errors import TersenetError
from tersenet.graph._translate import CaptureError, Translation, users_line
from tersenet.graph.masks import masks_applied
from tersenet.graph.network import Network
from tersenet.ir import DTYPES, Graph, Input, Preprocess

# BatchNorm counts its batches but, with a momentum, never reads the count; PyTorch loads a state without it.
COUNTER = "num_batches_tracked"


def capture(
    model: nn.Module,
    example: Shaped[Tensor, "..."] | tuple[Tensor, ...],
    *,
    preprocess: Preprocess | None = None,
) -> Network:
    """Trace `model` on `example` (its inputs, batch first) and rebuild it from its op list; `model` stays as
    it is.

    The network has copies of the model's tensors under their own names; a tensor shared by several modules
    has its first name. BatchNorm's `num_batches_tracked` is left out. Weights that torch.nn.utils.prune masks
    are stored as they are used, zeros in place. A Network is copied as it is, forms included.
    """
    if isinstance(model, Network):
        return _recaptured(model, preprocess)
    inputs = _checked_example(example)
    with masks_applied(model):
        return _captured(model, inputs, preprocess)


def _captured(model: nn.Module, inputs: tuple[Tensor, ...], preprocess: Preprocess | None) -> Network:
    names = _names(model)
    program = _export(model, inputs)
    translation = Translation(_batch_symbol(program, inputs))
    given_inputs = []
    for spec in program.graph_signature.input_specs:
        node = next(one for one in program.graph.nodes if one.name == spec.arg.name)
        if spec.kind is InputKind.USER_INPUT:
            given_inputs.append(_input(node, spec.arg.name))
            translation.add_input(node)
            continue
        target = str(spec.target)
        persistent = spec.kind is InputKind.PARAMETER or (spec.kind is InputKind.BUFFER and bool(spec.persistent))
        if persistent:
            translation.add_parameter(node, names[target][0])
        elif spec.kind in (InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            translation.add_constant(node, target, program.constants[target])
        else:
            raise CaptureError(f"the traced network takes {spec.kind.name} '{target}'; only tensors can be stored")
    if not given_inputs:
        raise CaptureError("the network does not read its input; there is nothing to capture")
    output_names = _output_names(program)
    nodes, outputs, constants = translation.translate(program.graph, dict(model.named_modules()))
    tensors = {
        first: tensor.detach().clone() if not isinstance(tensor, nn.Parameter) else _copied(tensor)
        for first, tensor in names.values()
        if first.rpartition(".")[2] != COUNTER
    }
    buffers = {name for name, tensor in tensors.items() if not isinstance(tensor, nn.Parameter)} | set(constants)
    tensors |= {name: constant.detach().clone() for name, constant in constants.items()}
    graph = Graph(
        inputs=tuple(given_inputs),
        nodes=nodes,
        outputs=outputs,
        output_names=output_names,
        parameters={name: _dtype(tensor.dtype, f"tensor '{name}'") for name, tensor in tensors.items()},
        preprocess=preprocess,
        buffers=frozenset(buffers),
    )
    network = Network(graph, tensors)
    network.train(model.training)
    return network


def _recaptured(network: Network, preprocess: Preprocess | None) -> Network:
    copied = network.clone()
    if preprocess is not None:
        copied.graph = replace(copied.graph, preprocess=preprocess)
    return copied


def _copied(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)


def _names(model: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """Every name in the state dict -> the first name of the same tensor, and the tensor."""
    first: dict[int, str] = {}
    names = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise CaptureError(f"the model's state '{name}' is a {type(tensor).__name__}; only tensors can be stored")
        names[name] = (first.setdefault(id(tensor), name), tensor)
    return names


def _checked_example(example: Any) -> tuple[Tensor, ...]:
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    if not inputs or not all(isinstance(one, Tensor) for one in inputs):
        raise CaptureError("the example must be a tensor or a tuple of tensors, the arguments of forward")
    sizes = {tuple(one.shape[:1]) for one in inputs}
    if len(sizes) != 1 or sizes == {()} or sizes == {(0,)}:
        shapes = ", ".join(str(tuple(one.shape)) for one in inputs)
        raise CaptureError(f"the example has shapes {shapes}; every input needs the same batch, at least 1, as axis 0")
    if sizes == {(1,)}:  # a batch of one would be taken for a constant
        inputs = tuple(torch.cat((one, one)) for one in inputs)
    return inputs


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs a traceback, and prints the graph so far, before it raises; our own sentence is enough."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _export(model: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} for _ in inputs)
    with _eval_mode(model), _quiet():
        try:
            return torch.export.export(model, inputs, dynamic_shapes=_by_signature(model, shapes))
        except TersenetError:
            raise
        except Exception as error:
            raise CaptureError(_export_failed(error)) from error


def _by_signature(model: nn.Module, shapes: tuple[dict[int, Any], ...]) -> Any:
    """The shapes as torch.export wants them: nested once more where forward takes *args."""
    kinds = [one.kind for one in inspect.signature(model.forward).parameters.values()]
    star = next((i for i, kind in enumerate(kinds) if kind is inspect.Parameter.VAR_POSITIONAL), None)
    return shapes if star is None else (*shapes[:star], shapes[star:])


def _export_failed(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if "specialized" in str(error) or "Constraints violated" in str(error):
        return (
            "the network fixes its batch size (a literal number in view, reshape or expand, or a branch on "
            f"x.shape[0]); write x.shape[0] or -1 there. torch.export says: {first}"
        )
    return (
        f"torch.export cannot trace the network{_where(error)}: {type(error).__name__}: {first}; a forward that "
        "branches on values, or calls code outside PyTorch, must be rewritten with tensor operations"
    )


def _where(error: Exception) -> str:
    """The innermost line of the user's code that was being traced."""
    ours = str(Path(__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not ("-packages" in frame.filename or frame.filename.startswith(("<", ours))):
            return f' (File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line})'
    return ""


def _batch_symbol(program: torch.export.ExportedProgram, inputs: tuple[Tensor, ...]) -> Any:
    """The one free size: axis 0 of every input."""
    users = set(program.graph_signature.user_inputs)
    symbols = set()
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in users:
            for size in node.meta["val"].shape:
                if isinstance(size, torch.SymInt):
                    symbols.add(size.node.expr)
    if len(symbols) > 1:
        raise CaptureError(
            f"the network has {len(symbols)} free sizes; one is supported, the batch, axis 0 of each input"
        )
    if not symbols:
        raise CaptureError("the network fixes its batch size; every input needs the batch as axis 0, of any size")
    return symbols.pop()


def _input(node: torch.fx.Node, name: str) -> Input:
    fake = node.meta["val"]
    return Input(name, _dtype(fake.dtype, f"input '{name}'"), tuple(int(size) for size in fake.shape[1:]))


def _dtype(dtype: torch.dtype, what: str) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise CaptureError(f"{what} has dtype {name}; a file can hold {', '.join(DTYPES)}")
    return name


def _output_names(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    """ "output", or the keys of a dictionary, or output_0, output_1, ..."""
    node = program.graph.output_node()
    given: Any = node.args[0]
    results = list(given)
    for result in results:
        if not isinstance(result, torch.fx.Node) or not isinstance(result.meta.get("val"), Tensor):
            raise CaptureError(
                f"forward returns {result!r}, not a tensor; return tensors only {users_line(node)}".strip()
            )
    spec = program.call_spec.out_spec
    if spec is not None and spec.type is dict and len(spec.context) == len(results):
        return tuple(str(key) for key in spec.context)
    return ("output",) if len(results) == 1 else tuple(f"output_{index}" for index in range(len(results)))
