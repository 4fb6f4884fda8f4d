"""A whole network rounded once, without training and without labels, layer by layer in forward order.

READ FIRST
  1. Each layer sees its inputs as the already rounded layers give them, and is fitted to what the original network
     answers there (see `_meetings`).
  2. A scale and a shift a channel that follow a layer (BatchNorm after `fold_batchnorm`, or a bias) take up the
     least-squares line from the rounded answers to the wanted ones. That is free: they are stored anyway.
  3. Steps differ by layer and by column, so that a bit buys about the same everywhere (see `_steps`), by what the outputs
     diverge when a layer alone is rounded, and by what errors of a column cost. One number scales them all.
  4. Rows whose channel matters more take smaller steps, at no cost where a scale follows (see `_balance`).
  5. Without data the inputs of every layer count as independent (weights-only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms import Columns, Dct, Form, Uniform
from tersenet.forms._grid import usable_step
from tersenet.forms.dct import kernel_axes
from tersenet.forms.uniform import MAX_BITS
from tersenet.graph import Network, WeightedLayer
from tersenet.graph.walk import Walk
from tersenet.ir import Value
from tersenet.methods._after import Line, line_after
from tersenet.methods._balance import POWER as ROW_POWER
from tersenet.methods._balance import balance_rows
from tersenet.methods._feedback import CodeLengths, damped, factorise, feedback_round, uniform_grid
from tersenet.methods._meetings import GEMM, Meeting, first_uses, meetings
from tersenet.methods._moments import Moments, by_frequency, least_squares, matrix_of, moments, without_data
from tersenet.methods._steps import ONE_STEP, column_times, root_mean_squares, row_times, spread
from tersenet.methods._trellis import trellis_round
from tersenet.methods.curvature import Outputs
from tersenet.methods.select import replace_form

# At this quality a step is as large as a layer's weights are on average (root mean square): about two bits a weight.
MIDDLE = 50
# So many points of quality halve the steps: one bit a weight more.
POINTS_A_BIT = 20
# A tensor of at least so many numbers takes a grid of its own; less is smaller as float16.
MANY = 16
# Rows that a path through a trellis has at least; its first weights have little choice.
SHORTEST_PATH = 16
# Of the step without a trellis, for about as many bits: 6 points of quality more than half of it.
TRELLIS_STEP = 2.0**-0.7
# Bits a weight that a trellis is taken to save.
TRELLIS_GAIN = 0.1


@dataclass(frozen=True)
class Rounding:
    """How finely, and at what price.

    quality      0 to 100: POINTS_A_BIT more halve every step
    rate_weight  price of a bit in mean squared errors of a step; (ln 2) / 6 = 0.116 is the high-rate optimum, less is
                 better where errors are shared with later columns
    damping      share of the mean diagonal added to second moments
    vector_bits  of scales, shifts and biases
    dct          kernels of convolutions are rounded in their frequencies (see `forms.Dct`)
    uneven       columns of a weight, or rows that no scale follows, have steps of their own where these are worth their bytes
    trellis      states of a trellis that each column's integers go through, a power of 2 from 4 to 256, or 0 for none; more
                 integers then take about as many bits, but under the coder `range` alone (see `_trellis`)
    """

    quality: float = MIDDLE
    rate_weight: float = 0.03
    damping: float = 0.03
    vector_bits: int = 8
    dct: bool = True
    uneven: bool = True
    trellis: int = 0


def round_network(
    network: Network,
    batches: Sequence[tuple[Tensor, ...]] | None,
    rounding: Rounding,
    *,
    outputs: Outputs = "classes",
) -> None:
    """Hold every matrix as `Uniform`, and every longer vector; in place. The network is left in eval mode.

    batches   inputs to calibrate on, or None: then weights alone decide
    outputs   what the network answers: scores of classes, or values (see `divergence`)
    """
    if not 0 <= rounding.quality <= 100:
        raise TersenetError(f"a quality of {rounding.quality:g}; 0 to 100 can be")
    if batches is not None and not sum(len(inputs[0]) for inputs in batches):
        raise TersenetError("there are no inputs to calibrate on; give at least one batch, or use weights-only")
    network.eval()
    rows: dict[str, Tensor] = {}
    if batches is not None:
        rows = balance_rows(network, batches, outputs)
    original = network.clone()
    layers = first_uses(network.weighted_layers())
    steps = allocate(original, layers, batches, rounding, outputs)
    if batches is None:
        for layer in layers:
            _round_layer(network, original, layer, None, steps[layer.weight], None, rounding)
    else:
        for meeting in meetings(network, original, batches, steps):
            met, name = _met(network, original, meeting), meeting[0].weight
            _round_layer(network, original, meeting[0], met, steps[name], rows.get(name), rounding)
    _round_rest(network, original, rounding)


def divergence(
    original: Tensor | tuple[Tensor, ...], answers: Tensor | tuple[Tensor, ...], outputs: Outputs = "classes"
) -> float:
    """How far answers are from the original's, a mean over examples.

    classes   Kullback-Leibler divergence of the softmax over axis 1, in nats
    values    squared error divided by the original's variance
    """
    if isinstance(original, tuple):
        pairs = zip(original, answers, strict=True)
        return sum(divergence(one, other, outputs) for one, other in pairs if one.is_floating_point())
    assert isinstance(answers, Tensor)
    before, after = original.double(), answers.double()
    if outputs == "values":
        return float((after - before).square().mean() / before.var(correction=0).clamp(min=1e-12))
    examples = before.numel() / before.shape[1]
    taught, given = before.log_softmax(1), after.log_softmax(1)
    return float(F.kl_div(given, taught, reduction="sum", log_target=True) / examples)


def allocate(
    network: Network,
    layers: list[WeightedLayer],
    batches: Sequence[tuple[Tensor, ...]] | None,
    rounding: Rounding,
    outputs: Outputs,
) -> dict[str, float]:
    """The step of each layer's weight: in units of its root mean square, all alike where there is no data.

    With data, sensitivities are measured with these steps, and again with those that follow from them: a layer whose
    few weights decide much differs from the rest by more than what is seen at steps that ruin it.
    """
    common = 2.0 ** ((MIDDLE - rounding.quality) / POINTS_A_BIT)
    steps = root_mean_squares(network, layers)
    if batches is not None:
        steps = spread(network, steps, sensitivities(network, batches, steps, rounding, outputs))
    steps = {name: common * step for name, step in steps.items()}
    if batches is not None:
        steps = spread(network, steps, sensitivities(network, batches, steps, rounding, outputs))
    return steps


def sensitivities(
    network: Network,
    batches: Sequence[tuple[Tensor, ...]],
    steps: Mapping[str, float],
    rounding: Rounding,
    outputs: Outputs,
) -> dict[str, float]:
    """By weight: the divergence of the outputs when that layer alone is rounded with its step.

    Measured on the first batch. Rounding at a low rate is no random noise (small weights all become zero), so the
    layer is rounded in earnest.
    """
    walk = Walk(network, batches[:1])
    found: dict[str, float] = {}
    ends = _outputs_of(Walk(network, batches[:1]))
    noisy = network.clone()
    at = {layer.index: layer for layer in first_uses(network.weighted_layers()) if layer.weight in steps}
    for position in range(len(network.graph.nodes)):
        layer = at.get(position)
        if layer is None:
            walk.step()
            continue
        node = network.graph.nodes[position]
        given = walk.value(Value(node.tensors()[0].number)) if layer.op in GEMM else []  # type: ignore[union-attr]
        walk_before = walk.fork(network)
        walk.step()
        wanted = walk.value(Value(network.graph.first_value(position)))
        weight, step = network.dense(layer.weight), steps[layer.weight]
        met = _met(network, network, (layer, given, wanted))
        matrix = matrix_of(weight, 1 if met is None else len(met.gram))
        if met is None:
            met = without_data(matrix, np.zeros(matrix.shape[:2]))
        by_row = layer.op in GEMM and line_after(network, layer).scale is not None
        trellis = _trellis_for(matrix, rounding)
        size = _finer(step, trellis)
        levels, scale = _levels(matrix, met, np.array(size), rounding, by_row=by_row, trellis=trellis)
        rounded = torch.from_numpy(levels * scale[..., None] * size).float().reshape(weight.shape)
        noisy.set_tensor(layer.weight, rounded)
        found[layer.weight] = divergence(ends, _outputs_of(walk_before.fork(noisy)), outputs)
        noisy.set_tensor(layer.weight, weight)
    return found


def _outputs_of(walk: Walk) -> Tensor | tuple[Tensor, ...]:
    """Run to the end."""
    while walk.position < len(walk.network.graph.nodes):
        walk.step()
    ends = tuple(torch.cat(walk.value(end)) for end in walk.network.graph.outputs)
    return ends[0] if len(ends) == 1 else ends


def _met(network: Network, original: Network, meeting: Meeting) -> Moments | None:
    layer, given, wanted = meeting
    if layer.op not in GEMM:
        return None
    line = line_after(network, layer)
    kernel = tuple(original.dense(layer.weight).shape[2:])
    node = network.graph.nodes[layer.index]
    return moments(node, kernel, given, wanted, centred=line.shift is not None, name=layer.name)


def _round_layer(
    network: Network,
    original: Network,
    layer: WeightedLayer,
    met: Moments | None,
    step: float,
    rows: Tensor | None,
    rounding: Rounding,
) -> None:
    """rows   what the steps of its rows should differ by where no scale follows"""
    weight = original.dense(layer.weight)
    node = network.graph.nodes[layer.index]
    groups = node.get("groups") if layer.op in ("conv1d", "conv2d") else 1
    matrix = matrix_of(weight, groups)
    out = matrix.shape[1]
    line = line_after(network, layer) if layer.op in GEMM else Line(None, None)
    bias = _stored(original, layer.bias, groups, out) if layer.bias is not None else np.zeros((groups, out))
    if met is None:
        met = without_data(matrix, bias)
    axes = kernel_axes(tuple(weight.shape)) if rounding.dct and layer.op in ("conv1d", "conv2d") else 0
    kernel = tuple(weight.shape[weight.ndim - axes :])
    if axes:
        matrix, met = by_frequency(matrix, kernel), met.by_frequency(kernel)
    times, trellis = np.ones((1, 1, 1), np.int64), _trellis_for(matrix, rounding)
    if rounding.uneven and met.count:
        times = _uneven_times(matrix, met, None if line.scale is not None else rows, rounding)
    if times.shape[1] > 1:
        trellis = 0  # a path goes down a column, in units of one step
    unit = _usable(_finer(step, trellis) / float(np.exp(np.log(times).mean())))
    levels, scale = _levels(matrix, met, unit * times, rounding, by_row=line.scale is not None, trellis=trellis)
    if line.scale is None:
        # One factor for all rows has its place in the step.
        unit = _usable(unit * float(scale[0, 0]))
        scale = np.ones((groups, out))
    held = _held(torch.from_numpy(levels).reshape(weight.shape), unit * times, turned=trellis > 0)
    replace_form(network, layer.weight, Dct(held, axes) if axes else held)
    answers = np.einsum("gof,gf->go", levels * (unit * times), met.inputs)
    if line.scale is not None:
        gain = _stored(original, line.scale, groups, out)
        _store(network, line.scale, gain * scale, rounding, relative=True)
        if line.shift is not None:
            rest = _stored(original, line.shift, groups, out) + gain * (met.answers - scale * (answers + bias))
            _store(network, line.shift, rest, rounding)
    elif line.shift is not None:
        _store(network, line.shift, met.answers - answers, rounding)


def _uneven_times(matrix: np.ndarray, met: Moments, rows: Tensor | None, rounding: Rounding) -> np.ndarray:
    """What a step is multiplied with for each column (1, 1, columns), or each row (groups, out, 1), whichever saves more."""
    groups, out, columns = matrix.shape
    hessians = [damped(gram, met.count, rounding.damping) for gram in met.gram]
    by_row, by_column = ONE_STEP, column_times(hessians[0], out) if groups == 1 else ONE_STEP
    if rows is not None:
        # A row of a group counts by what the group's inputs are, too.
        size = np.array([np.exp(np.linalg.slogdet(one)[1] / columns) for one in hessians])
        steps = rows.numpy().reshape(groups, out) * size[:, None] ** -ROW_POWER
        by_row = row_times(steps.reshape(-1), ROW_POWER, columns)
    along_columns = by_column.gained + (TRELLIS_GAIN * matrix.size if _trellis_for(matrix, rounding) else 0.0)
    if by_row.gained > along_columns:
        return by_row.values.reshape(groups, out, 1)
    return by_column.values.reshape(1, 1, -1)


def _trellis_for(matrix: np.ndarray, rounding: Rounding) -> int:
    """States of the trellis that a matrix (groups, out, features) is rounded along; 0 where its columns are short."""
    groups, out, _ = matrix.shape
    return rounding.trellis if groups == 1 and out >= SHORTEST_PATH else 0


def _finer(step: float, trellis: int) -> float:
    return step * TRELLIS_STEP if trellis else step


def _held(levels: Tensor, steps: np.ndarray, *, turned: bool) -> Form:
    """Integers and their steps: one, one for each row (groups, out, 1), or one for each column (1, 1, columns).

    turned   column by column, as a path goes
    """
    flat = torch.from_numpy(steps.reshape(-1))
    if steps.shape[2] == 1 and not turned:
        return Uniform(levels, flat)
    return Columns(Uniform(levels.movedim(0, -1).contiguous(), flat))


def _usable(step: float) -> float:
    return float(usable_step(torch.tensor([step]))[0])


def _levels(
    matrix: np.ndarray, met: Moments, steps: np.ndarray, rounding: Rounding, *, by_row: bool, trellis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Levels (groups, out, features) and the least-squares factor of each row, or one for all of them.

    steps   that broadcast to the levels, either of columns or of rows
    """
    groups, out, _ = matrix.shape
    steps = np.broadcast_to(steps, matrix.shape)
    levels = np.empty(matrix.shape, np.int64)
    grid = uniform_grid(np.ones(out))
    first = np.rint(matrix / steps).astype(np.int64).reshape(groups * out, -1)
    lengths = CodeLengths.of(first, classes=False) if groups > 1 else None
    along, power = np.empty((groups, out)), np.empty((groups, out))
    for group in range(groups):
        gram, cross, size = met.gram[group], met.cross[group], steps[group]
        hessian = damped(gram, met.count, rounding.damping) if met.count else gram
        target = least_squares(matrix[group], hessian, gram, cross)
        # In units of the steps, which are 1 there. What columns cost changes by their squares; those of rows differ so that
        # all rows cost the same.
        column, order = size[0] / size[0, 0], np.argsort(-np.diagonal(hessian), kind="stable")
        factor = factorise(hessian * column * column[:, None], order)
        price = rounding.rate_weight * float(factor.cost.mean())
        if trellis:
            levels[group] = trellis_round(target / size, factor, states=trellis, bit_price=price)
        else:
            levels[group] = feedback_round(target / size, factor, grid, bit_price=price, lengths=lengths)
        rounded = levels[group] * size
        along[group] = np.einsum("of,fo->o", rounded, cross)
        power[group] = np.einsum("of,fk,ok->o", rounded, gram, rounded)
    if not by_row:
        along, power = np.full_like(along, along.sum()), np.full_like(power, power.sum())
    usable = (power > 0) & (along > 0)
    scale = np.where(usable, along / np.where(usable, power, 1.0), 1.0)
    return levels, np.clip(scale, 0.25, 4.0)


def _round_rest(network: Network, original: Network, rounding: Rounding) -> None:
    """What no layer's weight is: matrices as weights without data, longer vectors by their own grid."""
    for name, dtype in network.graph.parameters.items():
        if name in network.graph.buffers or dtype != "float32" or network.form(name) is not None:
            continue
        tensor = network.dense(name)
        if tensor.numel() == max(tensor.shape, default=1):
            _store(network, name, tensor.double().numpy(), rounding)
            continue
        matrix = matrix_of(tensor, 1)
        step = float(tensor.double().square().mean().sqrt()) * 2.0 ** ((MIDDLE - rounding.quality) / POINTS_A_BIT)
        trellis = _trellis_for(matrix, rounding)
        size = np.full((1, 1, 1), _usable(_finer(step, trellis)))
        alone = without_data(matrix, np.zeros((1, len(tensor))))
        levels, _ = _levels(matrix, alone, size, rounding, by_row=True, trellis=trellis)
        replace_form(network, name, _held(torch.from_numpy(levels).reshape(tensor.shape), size, turned=trellis > 0))


def _stored(network: Network, name: str, groups: int, out: int) -> np.ndarray:
    return network.dense(name).double().numpy().reshape(groups, out)


def _store(network: Network, name: str, values: np.ndarray, rounding: Rounding, *, relative: bool = False) -> None:
    """A vector on its own grid; a short one rounded to float16.

    relative   a few large numbers are no reason for a coarse grid: what counts is the error of each against itself
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values)).float().reshape(network.dense(name).shape)
    if tensor.numel() >= MANY:
        bits = rounding.vector_bits
        middle = float(tensor.abs().median())
        if relative and middle > 0:
            bits += max(0, int(np.ceil(np.log2(float(tensor.abs().max()) / (2 * middle)))))
        replace_form(network, name, Uniform.fit(tensor, bits=min(bits, MAX_BITS), symmetric=False))
    else:
        network.set_tensor(name, tensor.to(torch.float16).to(torch.float32))
