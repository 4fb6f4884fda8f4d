"""One-shot pruning with calibration inputs: Optimal Brain Surgeon layer by layer, without labels and without training.

READ FIRST
  1. Which weights go is decided on the original network: for each, what its removal costs its layer (`_surgeon`) times
     what such an error costs the loss (`curvature.output_curvature`), so that layers compare (docs/notes/obs.md).
  2. Then layer after layer takes the values that come nearest to the original's answers on the inputs that the pruned
     layers before it give (`_meetings`).
  3. The mean of each channel stays: the bias takes up its change, or the running mean of the BatchNorm that follows.
     Variances are left: a least-squares fit has less of it than what it fits, and to restore that would magnify the
     error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.methods._after import holder_of_mean, take_up
from tersenet.methods._feedback import damped
from tersenet.methods._meetings import GEMM, Meeting, meetings
from tersenet.methods._moments import Moments, least_squares, matrix_of, moments
from tersenet.methods._surgeon import costs_of, values_of
from tersenet.methods.curvature import Outputs, output_curvature
from tersenet.methods.patterns import Neighbours
from tersenet.methods.prune import attach_pruned
from tersenet.methods.saliency import Kept, Saliency, keep_salient

Batches = Sequence[tuple[Tensor, ...]]
# Backward passes for the curvature of the loss: a mean over examples and places has little noise already.
PROBES = 2
# So that a channel that no output depends on still ranks its weights.
TINY = 1e-30


@dataclass(frozen=True)
class Surgery:
    """What goes, and how.

    keep      the share of weights that stays: of each layer by its name, or of all layers together
    pattern   in its place: at most n of m neighbours along a row of the weight stay
    damping   share of the mean diagonal added to second moments
    outputs   what the network answers: scores of classes, or values
    """

    keep: float | Mapping[str, float] | None = None
    pattern: Neighbours | None = None
    damping: float = 0.01
    outputs: Outputs = "classes"

    def __post_init__(self) -> None:
        if (self.keep is None) == (self.pattern is None):
            raise TersenetError("give either a keep-fraction or a pattern n:m")


def prune_by_surgery(
    network: Network, batches: Batches, layers: Sequence[WeightedLayer], surgery: Surgery, *, seed: int = 0
) -> None:
    """Prune the weights of `layers` in place and hold them as Sparse; what is zero already stays zero.

    batches   inputs to calibrate on; labels are not needed

    Refused: no inputs, inputs with NaN or of another shape, a layer that would lose everything, other layers than
    linear, conv1d and conv2d. Nothing is changed then.
    """
    others = [layer.name for layer in layers if layer.op not in GEMM]
    if others:
        raise TersenetError(f"layer '{others[0]}' is no linear, conv1d or conv2d; leave it out of `where`")
    if not sum(len(inputs[0]) for inputs in batches):
        raise TersenetError("there are no inputs to calibrate on; give at least one batch with one example")
    original = Network(network.graph, network.tensors()).eval()
    names = {layer.weight for layer in layers}
    every_use = [layer for layer in network.weighted_layers() if layer.weight in names]
    curvature = output_curvature(original, batches, every_use, outputs=surgery.outputs, probes=PROBES, seed=seed)
    saliency = removal_saliency(original, batches, curvature, surgery)
    kept = _kept(saliency, surgery)
    for name, mask in kept.items():
        if not mask.any():
            raise TersenetError(f"pruning leaves nothing of '{name}'; keep more of it or exclude it")
    fitted = original.clone()
    for meeting in meetings(fitted, original, batches, kept):
        _settle(fitted, original, meeting, kept, curvature, surgery)
    for layer in layers:
        holder = holder_of_mean(network, layer)
        if holder is not None:
            if network.form(holder.name) is not None:
                network.detach(holder.name)
            network.set_tensor(holder.name, fitted.dense(holder.name))
        attach_pruned(network, layer.weight, fitted.dense(layer.weight))


def removal_saliency(network: Network, batches: Batches, curvature: Mapping[str, Tensor], surgery: Surgery) -> Saliency:
    """By weight: what the removal of each of its numbers costs the loss; those before it are gone, the rest made good.

    curvature   by weight: second derivative of the loss by each output channel

    Of matrices too large for that, w^2 / [H^-1]_qq with nothing gone yet. Weights that are zero already cost nothing,
    those that the pattern keeps cost infinitely much.
    """
    found: Saliency = {}
    for meeting in meetings(network, network, batches, curvature):
        layer = meeting[0]
        met = _met(network, meeting)
        weight = network.dense(layer.weight)
        matrix = matrix_of(weight, len(met.gram))
        half = curvature[layer.weight].double().numpy().reshape(matrix.shape[:2]) / 2
        costs = np.empty(matrix.shape)
        for group, rows in enumerate(matrix):
            hessian = damped(met.gram[group], met.count, surgery.damping)
            open_ = rows != 0
            costs[group] = costs_of(rows, hessian, open_, surgery.pattern)
            costs[group] = np.where(open_, costs[group] * np.maximum(half[group], TINY)[:, None], 0.0)
        found[layer.weight] = torch.from_numpy(costs.reshape(weight.shape))
    return found


def _kept(saliency: Saliency, surgery: Surgery) -> Kept:
    if surgery.keep is None:
        return {name: torch.isinf(one) for name, one in saliency.items()}
    kept = keep_salient(saliency, surgery.keep)
    return {name: mask & (saliency[name] > 0) for name, mask in kept.items()}


def _settle(
    network: Network,
    original: Network,
    meeting: Meeting,
    kept: Kept,
    curvature: Mapping[str, Tensor],
    surgery: Surgery,
) -> None:
    layer = meeting[0]
    met = _met(network, meeting)
    weight = original.dense(layer.weight)
    matrix = matrix_of(weight, len(met.gram))
    mask = kept[layer.weight].numpy().reshape(matrix.shape)
    row_weight = curvature[layer.weight].double().numpy().reshape(matrix.shape[:2])
    bias = np.zeros(matrix.shape[:2])
    if layer.bias is not None:
        bias = original.dense(layer.bias).double().numpy().reshape(bias.shape)
    holder = holder_of_mean(network, layer)
    # Where nothing takes up means, they count, and the bias stays what it is.
    cross = met.cross if holder is not None else met.cross - met.inputs[:, :, None] * bias[:, None, :]
    fitted = np.empty(matrix.shape)
    for group, rows in enumerate(matrix):
        hessian = damped(met.gram[group], met.count, surgery.damping)
        target = least_squares(rows, hessian, met.gram[group], cross[group])
        fitted[group] = values_of(target, hessian, mask[group], rows != 0, row_weight[group], surgery.pattern)
    network.set_tensor(layer.weight, torch.from_numpy(fitted).float().reshape(weight.shape))
    if holder is not None:
        growth = np.einsum("gof,gf->go", fitted, met.inputs) + bias - met.answers
        take_up(network, holder, torch.from_numpy(growth).reshape(-1))


def _met(network: Network, meeting: Meeting) -> Moments:
    layer, given, wanted = meeting
    node, kernel = network.graph.nodes[layer.index], tuple(network.dense(layer.weight).shape[2:])
    return moments(node, kernel, given, wanted, centred=holder_of_mean(network, layer) is not None, name=layer.name)
