"""Neurons that do nothing leave: those that nobody reads, and those that always say the same.

READ FIRST
  1. A pass over the graph with NaN for "depends on the input" finds the constant channels: weighted layers
     give the bias of a row of zeros and NaN elsewhere, everything else runs as it is, and NaN spreads by
     itself.
  2. A constant that is read goes into the reader's bias; a padded convolution meets zeros at its border, so
     there only the constant 0 can go.
  3. "Always" means in eval mode: BatchNorm by its running statistics.
Han et al. 2015, arXiv:1506.02626, section 3.5, remove such neurons after pruning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tersenet.graph.coupling import Coupling, Reader
from tersenet.graph.network import WEIGHTED, Network
from tersenet.graph.plan import always_trains, make_plan
from tersenet.graph.rebuild import rebuilt
from tersenet.graph.surgery import without_units
from tersenet.ir import Node, Parameter, Value, make_node


def remove_dead(network: Network) -> Network:
    """A network without its dead neurons and channels, equal to the old one in eval mode; a copy if there are
    none.
    """
    current = network.clone()
    while True:
        coupling = Coupling(current)
        dead, folds = _dead_units(coupling)
        if not dead:
            return current
        folded = _with_biases(current, folds)
        # The same operations in the same order, so the units have the same numbers.
        current = without_units(Coupling(folded), dead)


# Elementwise operations that make a number of NaN.
ROUNDING = frozenset({"sign", "fake_quantize"})


@dataclass(frozen=True)
class _Read:
    """What a reader would lose: per position whether it may go, and what it adds to the bias if so."""

    reader: Reader
    may_go: np.ndarray
    adds: Tensor  # (out, positions)


def _dead_units(coupling: Coupling) -> tuple[set[int], dict[int, Tensor]]:
    """The units that can go, and what each reader's node then gains as bias."""
    values = _constant_values(coupling)
    reads = [_examined(coupling, reader, values) for reader in coupling.readers]
    roots = {unit for units in coupling.layers.values() for unit in coupling.roots(units).tolist()}
    dead = {unit for unit in roots if unit not in coupling.pins}
    for read in reads:
        dead -= set(coupling.roots(read.reader.units)[~read.may_go].tolist())
    for units in coupling.ends:
        dead -= set(coupling.roots(units).tolist())
    _keep_one_everywhere(coupling, dead)
    folds = {}
    for read in reads:
        goes = np.isin(coupling.roots(read.reader.units), list(dead))
        added = read.adds[:, torch.from_numpy(np.flatnonzero(goes)).to(read.adds.device)].sum(1)
        if added.any():
            folds[read.reader.index] = added
    return dead, folds


def _keep_one_everywhere(coupling: Coupling, dead: set[int]) -> None:
    """No axis may become empty."""
    again = True
    while again:
        again = False
        for units in coupling.tensors.values():
            roots = set(coupling.roots(units).tolist())
            if roots and roots <= dead:
                dead.discard(min(roots))
                again = True


def _constant_values(coupling: Coupling) -> list[Any]:
    """Each value for a batch of one, NaN where it may depend on the input."""
    network, graph = coupling.network, coupling.network.graph
    plan = make_plan(graph)
    device = next(iter(network.tensors().values())).device if graph.parameters else torch.device("cpu")
    values: list[Any] = [None] * plan.slots
    for number, given in enumerate(graph.inputs):
        dtype = getattr(torch, given.dtype)
        values[number] = torch.full(
            (1, *given.shape), float("nan") if dtype.is_floating_point else 0, device=device, dtype=dtype
        )
    for name, slot in plan.tensors.items():
        values[slot] = network.dense(name)
    for position, slot in plan.flags.items():
        values[slot] = always_trains(graph.nodes[position])
    with torch.no_grad():
        for index, (node, step) in enumerate(zip(graph.nodes, plan.steps)):
            step(values)
            first = plan.watched[index][1]
            last = graph.first_value(index + 1)
            for number in range(first, last):
                values[number] = _known(coupling, node, values, values[number])
    return values


def _known(coupling: Coupling, node: Node, values: list[Any], result: Tensor) -> Tensor:
    """The result with NaN where the operation itself cannot be trusted to spread it."""
    if not result.is_floating_point():
        return result
    if node.op in WEIGHTED:
        return _rows_of_zeros(coupling, node, result)
    if node.op in ROUNDING:
        given = node.tensors()[0]
        assert isinstance(given, Value)
        return torch.where(values[given.number].isnan(), float("nan"), result)
    whole_numbers = any(isinstance(one, Value) and not values[one.number].is_floating_point() for one in node.tensors())
    return torch.full_like(result, float("nan")) if whole_numbers else result


def _rows_of_zeros(coupling: Coupling, node: Node, result: Tensor) -> Tensor:
    """The bias where a row of the weight is zero; elsewhere unknown, but for depthwise channels, which ran as
    they are.
    """
    weight, bias = node.arguments["weight"], node.arguments.get("bias")
    if not isinstance(weight, Parameter) or isinstance(bias, Value):
        return torch.full_like(result, float("nan"))
    dense = coupling.network.dense(weight.name)
    groups = node.get("groups") if node.op.startswith("conv") else 1
    transposed = node.op in ("conv_transpose2d", "embedding")
    rows = dense.transpose(0, 1) if transposed else dense
    zero = (rows == 0).flatten(1).all(1)
    if node.op == "conv_transpose2d" and groups > 1:
        return torch.full_like(result, float("nan"))
    axis = 1 if node.op.startswith("conv") else result.ndim - 1
    shape = [-1 if one == axis else 1 for one in range(result.ndim)]
    constant = (
        coupling.network.dense(bias.name) if isinstance(bias, Parameter) else torch.zeros_like(zero, dtype=result.dtype)
    )
    depthwise = groups > 1 and dense.shape[1] == 1
    elsewhere = result if depthwise else torch.full_like(result, float("nan"))
    return torch.where(zero.reshape(shape), constant.reshape(shape).to(result.dtype), elsewhere)


def _examined(coupling: Coupling, reader: Reader, values: list[Any]) -> _Read:
    network = coupling.network
    node = network.graph.nodes[reader.index]
    dense = network.dense(reader.weight)
    columns = dense.movedim(reader.axis, 0).flatten(1)  # (positions, the rest)
    unread = (columns == 0).all(1).cpu().numpy()
    source = node.arguments["input"]
    track = coupling.track(source)
    nothing = torch.zeros(1, len(columns), dtype=dense.dtype, device=dense.device)
    if track is None or len(track.units) != len(columns):  # groups read several channels by one column
        return _Read(reader, unread, nothing)
    found = values[source.number].movedim(track.axis, 0).flatten(1)
    same = (found == found[:, :1]).all(1)  # NaN equals nothing
    constant = torch.where(same, found[:, 0], torch.zeros_like(found[:, 0])).to(dense.dtype)
    silent = (same & (constant == 0)).cpu().numpy()
    if not _takes_constants(network, node):
        return _Read(reader, unread | silent, nothing)
    # linear (out, in), conv (out, in, *kernel): what each input position adds, summed over the kernel
    adds = dense.flatten(2).sum(2) * constant if dense.ndim > 2 else dense * constant
    return _Read(reader, unread | same.cpu().numpy(), adds)


def _takes_constants(network: Network, node: Node) -> bool:
    """Whether a constant input is a constant output: no zeros at a border, and weight and bias used only
    here.
    """
    if node.op not in ("linear", "conv1d", "conv2d") or any(node.get("padding") if node.op != "linear" else ()):
        return False
    bias = node.arguments.get("bias")
    mine = [node.arguments["weight"]] + ([bias] if bias is not None else [])
    used = [one for other in network.graph.nodes for one in other.tensors()]
    names = {one.name for one in mine}
    if any(network.form(name) is not None for name in names):
        return False
    return all(sum(one == other for other in used) == 1 for one in mine)


def _with_biases(network: Network, folds: dict[int, Tensor]) -> Network:
    """The same network with something added to biases, which are made where there are none."""
    graph = network.graph
    changed: dict[str, Tensor] = {}
    nodes, declared = list(graph.nodes), dict(graph.parameters)
    for index, added in folds.items():
        node = nodes[index]
        bias = node.arguments.get("bias")
        if isinstance(bias, Parameter):
            changed[bias.name] = network.dense(bias.name) + added
            continue
        weight = node.arguments["weight"].name
        name = f"{weight.removesuffix('weight')}bias"
        while name in declared:
            name += "_"
        declared = _inserted(declared, weight, name)
        changed[name] = added
        nodes[index] = make_node(node.op, **{**node.arguments, "bias": Parameter(name)})
    return rebuilt(network, replace(graph, nodes=tuple(nodes), parameters=declared), changed)


def _inserted(declared: dict[str, str], after: str, name: str) -> dict[str, str]:
    """A new tensor right behind its weight, where the names share most."""
    found = {}
    for one, dtype in declared.items():
        found[one] = dtype
        if one == after:
            found[name] = dtype
    return found
