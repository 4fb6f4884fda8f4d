"""Optimal Brain Damage: what goes is what the loss misses least, after LeCun, Denker and Solla 1990 (NIPS 2).

READ FIRST
  1. At a minimum of the loss E, setting w_k to zero costs about h_kk w_k^2 / 2, its saliency, where h_kk = d2E/dw_k^2
     and terms between weights are left out (eq. 3 to 5 there).
  2. h_kk comes from Gauss-Newton, exactly (`gauss_newton_diagonal`), or from the paper's recursion, in one backward
     pass (`recursive_diagonal`). For networks whose activations have no curvature (ReLU) Gauss-Newton is the exact
     second derivative: the outputs are linear in each single weight.
  3. The loss is cross-entropy or mean squared error; neither of the two looks at labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tersenet.calibration.batches import checked_inputs
from tersenet.calibration.collect import PATCH_VALUES, rows_of
from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.methods._meetings import GEMM
from tersenet.methods._recursion import curvatures_back
from tersenet.methods.curvature import Outputs, Seen, checked_output, differentiable, output_diagonal, sent_back
from tersenet.methods.saliency import Saliency

Diagonal = dict[str, Float64[Tensor, "..."]]


def gauss_newton_diagonal(
    network: Network,
    batches: Iterable[Any],
    layers: Sequence[WeightedLayer],
    *,
    outputs: Outputs = "classes",
    probes: int | None = None,
    seed: int = 0,
) -> Diagonal:
    """By weight, the diagonal of the Gauss-Newton Hessian of the mean loss over all examples, in the weight's shape.

    batches   tensors or tuples that start with the inputs
    outputs   classes: cross-entropy of the softmax over axis 1; values: mean squared error
    probes    backward passes with random signs in place of one for each output; the result then has noise

    One backward pass an output, and squares of gradients example by example: of layers that see many places an
    example, the gradients themselves are made, at most PATCH_VALUES numbers at a time.
    """
    uses = _uses(network, layers)
    count, sums = 0, _zeros(network, uses)
    for examples, columns in sent_back(network, batches, uses, outputs=outputs, probes=probes, seed=seed):
        count += examples
        for seen in columns:
            for name, square in _squared_gradients(network, seen):
                sums[name] += square
    return {name: total / count for name, total in sums.items()}


def recursive_diagonal(
    network: Network, batches: Iterable[Any], layers: Sequence[WeightedLayer], *, outputs: Outputs = "classes"
) -> Diagonal:
    """The same by the recursion of LeCun et al. 1990: one backward pass, terms between outputs of a layer dropped.

    Refused where the network has operations for which `_recursion` has no rule.
    """
    uses = {layer.index: layer for layer in _uses(network, layers)}
    count, sums = 0, _zeros(network, list(uses.values()))
    network = differentiable(network)
    for inputs in checked_inputs(network, batches):
        count += len(inputs[0])
        back = curvatures_back(network, inputs, lambda z: output_diagonal(checked_output(z, outputs), outputs))
        for position, given, curvature in back:
            if position in uses:
                layer = uses[position]
                at_once = _at_once(network, layer, given, curvature)
                for x, d in _rows(network, layer, given, curvature, at_once):
                    square = d.flatten(1, 2).mT @ x.flatten(1, 2).square()
                    sums[layer.weight] += square.reshape(sums[layer.weight].shape)
    return {name: total / count for name, total in sums.items()}


def damage(network: Network, diagonal: Mapping[str, Tensor]) -> Saliency:
    """h_kk w_k^2 / 2 by weight: about what the loss grows by where w_k is set to zero."""
    return {name: h * network.dense(name).double().square() / 2 for name, h in diagonal.items()}


def _uses(network: Network, layers: Sequence[WeightedLayer]) -> list[WeightedLayer]:
    others = [layer.name for layer in layers if layer.op not in GEMM]
    if others:
        raise TersenetError(f"layer '{others[0]}' is no linear, conv1d or conv2d; leave it out of `where`")
    names = {layer.weight for layer in layers}
    return [layer for layer in network.weighted_layers() if layer.weight in names]


def _zeros(network: Network, layers: Sequence[WeightedLayer]) -> Diagonal:
    return {layer.weight: torch.zeros(network.dense(layer.weight).shape, dtype=torch.float64) for layer in layers}


def _squared_gradients(network: Network, seen: Seen) -> Iterable[tuple[str, Tensor]]:
    """Sums over examples of squared gradients, by weight; the gradients of a weight used twice add up first."""
    by_weight: dict[str, Seen] = {}
    for one in seen:
        by_weight.setdefault(one[0].weight, []).append(one)
    for name, uses in by_weight.items():
        at_once = min(_at_once(network, layer, given, g) for layer, given, g in uses)
        parts = [_rows(network, *use, at_once) for use in uses]
        for part in zip(*parts, strict=True):
            if len(uses) == 1 and part[0][0].shape[2] == 1:
                x, g = (one.squeeze(2).square() for one in part[0])
                square = g.mT @ x
            else:
                gradient = sum(torch.einsum("gnpo,gnpf->gnof", g, x) for x, g in part)
                square = gradient.square().sum(1, dtype=torch.float64)  # type: ignore[union-attr]
            yield name, square.reshape(network.dense(name).shape)


def _rows(
    network: Network, layer: WeightedLayer, given: Tensor, result: Tensor, at_once: int
) -> Iterable[tuple[Float[Tensor, "groups examples places features"], Float[Tensor, "groups examples places out"]]]:
    """What the weight meets and something at its outputs, place by place, for `at_once` examples at a time."""
    node, shape = network.graph.nodes[layer.index], network.dense(layer.weight).shape
    groups = _groups(network, layer)
    for x, y in zip(torch.split(given, at_once), torch.split(result, at_once)):
        rows = rows_of(node, tuple(shape[2:]), x).reshape(groups, len(x), -1, shape[1:].numel())
        by_place = y if layer.op == "linear" else y.movedim(1, -1)
        yield rows, by_place.reshape(len(x), -1, groups, shape[0] // groups).permute(2, 0, 1, 3)


def _at_once(network: Network, layer: WeightedLayer, given: Tensor, result: Tensor) -> int:
    """Examples whose rows, and whose gradients by the weight, are at most PATCH_VALUES numbers."""
    shape = network.dense(layer.weight).shape
    places = result[0].numel() // shape[0]
    return max(1, PATCH_VALUES // max(shape.numel(), places * shape[1:].numel() * _groups(network, layer)))


def _groups(network: Network, layer: WeightedLayer) -> int:
    return int(network.graph.nodes[layer.index].get("groups")) if layer.op != "linear" else 1
