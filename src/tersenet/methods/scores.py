"""How much each output channel of a layer matters, by several measures; larger stays.

Every function gives layer -> one number a channel, float64, for the layers it can say something of. A layer that is
used twice has the sum of both uses in `taylor_scores` (before it is squared) and their mean elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tersenet.calibration.batches import checked_inputs
from tersenet.errors import TersenetError
from tersenet.graph import Group, Network, WeightedLayer
from tersenet.methods.chain import Chain, chain_after, channel_axis, cuts_at_zero

Scores = dict[str, Float64[Tensor, " out"]]
Loss = Callable[[Tensor, Any], Float[Tensor, ""]]


def norm_scores(network: Network, order: Literal[1, 2]) -> Scores:
    """The L1 or L2 norm of each filter (Li et al. 2017, arXiv:1608.08710, section 3.1)."""
    return {layer.name: torch.linalg.vector_norm(_by_output(network, layer), order, dim=1) for layer in _uses(network)}


def batchnorm_scores(network: Network) -> Scores:
    """|gamma| of the BatchNorm behind each layer (Liu et al. 2017, arXiv:1708.06519, section 3); layers without one
    are left out. A folded BatchNorm has its scale, gamma / sqrt(var + eps), instead.
    """
    found = {}
    for layer in _uses(network):
        scale = chain_after(network, layer).scale
        if scale is not None and network.dense(scale).numel() == len(_by_output(network, layer)):
            found[layer.name] = network.dense(scale).reshape(-1).abs().double()
    return found


def taylor_scores(network: Network, batches: Iterable[Any], loss: Loss) -> Scores:
    """The squared first-order change of the loss when a channel is silenced, averaged over the batches.

    The sum of gradient times value over all of a channel's values in a batch: that of a gate behind the layer's
    normalisation (Molchanov et al. 2019, arXiv:1906.10771, eq. 9 and section 3.2). In eval mode. A batch is a tuple
    of the inputs, then what `loss` compares the output with.
    """
    totals: Scores = {}
    count = 0
    wanted = len(network.graph.inputs)
    with _evaluating(network):
        for batch in batches:
            inputs = next(checked_inputs(network, [batch]))
            for name, gate in _gate_gradients(network, inputs, batch[wanted], loss).items():
                totals[name] = totals[name] + gate.square() if name in totals else gate.square()
            count += 1
    if not count:
        raise TersenetError("the data is empty; at least one batch with one example is needed")
    return {name: total / count for name, total in totals.items()}


def _gate_gradients(network: Network, inputs: tuple[Tensor, ...], target: Any, loss: Loss) -> Scores:
    """Layer -> what the loss would gain by opening each channel's gate: sums of value times gradient."""
    kept: dict[int, Tensor] = {}
    watchers, chains = _watchers(network, lambda chain: chain.normalised, kept.__setitem__)
    with torch.enable_grad():
        inputs = tuple(one.detach().requires_grad_(one.is_floating_point()) for one in inputs)
        value = loss(network.watch(inputs, watchers), target.to(inputs[0].device))
        if not bool(torch.isfinite(value)):
            raise TersenetError("the loss of a batch is NaN or infinite; look at the network's weights and data")
        values = {index: one for index, one in kept.items() if one.requires_grad}
        grads = torch.autograd.grad(value, list(values.values()), allow_unused=True, materialize_grads=True)
    gates: Scores = {}
    for (index, one), grad in zip(values.items(), grads):
        name, axis = chains[index]
        gate = (one.detach() * grad).movedim(axis, 0).flatten(1).sum(1, dtype=torch.float64)
        gates[name] = gates[name] + gate if name in gates else gate
    return gates


def activation_scores(network: Network, batches: Iterable[Any]) -> Scores:
    """The mean of |a| over examples and positions, behind the layer's normalisation and activation."""
    return _averaged(network, batches, lambda chain: chain.activation or chain.normalised, Tensor.abs)


def nonzero_scores(network: Network, batches: Iterable[Any]) -> Scores:
    """The share of a channel's activations that are not zero: 1 - APoZ (Hu et al. 2016, arXiv:1607.03250, eq. 1).

    Layers that no ReLU follows are left out: elsewhere zeros say nothing.
    """
    nodes = network.graph.nodes

    def rectified(chain: Chain) -> int | None:
        return chain.activation if chain.activation is not None and cuts_at_zero(nodes[chain.activation]) else None

    return _averaged(network, batches, rectified, lambda values: (values != 0).to(values.dtype))


def unit_scores(group: Group, scores: Scores, coupled: Literal["mean", "sum"]) -> Float64[Tensor, " size"] | None:
    """One number a unit of a group: the mean or the sum over all channels that leave with it.

    None where a layer of the group has no score: part of a unit says too little of it.
    """
    if any(layer not in scores for layer in group.layers):
        return None
    total, members = torch.zeros(group.size, dtype=torch.float64), torch.zeros(group.size, dtype=torch.float64)
    for layer in group.layers:
        units = torch.from_numpy(np.asarray(group.units[layer], dtype=np.int64))
        total.index_add_(0, units, scores[layer].cpu())
        members.index_add_(0, units, torch.ones(len(units), dtype=torch.float64))
    return total / members if coupled == "mean" else total


def _averaged(
    network: Network,
    batches: Iterable[Any],
    where: Callable[[Chain], int | None],
    measure: Callable[[Tensor], Tensor],
) -> Scores:
    totals: Scores = {}
    counts: dict[str, int] = {}
    with _evaluating(network), network.frozen_weights():

        def take(index: int, result: Tensor) -> None:
            name, axis = chains[index]
            if not bool(torch.isfinite(result).all()):
                raise TersenetError(f"layer '{name}' gives NaN or infinite values; look at its weight and data")
            values = measure(result).movedim(axis, 0).flatten(1)
            summed = values.sum(1, dtype=torch.float64)
            totals[name] = totals[name] + summed if name in totals else summed
            counts[name] = counts.get(name, 0) + values.shape[1]

        watchers, chains = _watchers(network, where, take)
        for inputs in checked_inputs(network, batches):
            network.watch(inputs, watchers)
    return {name: total / counts[name] for name, total in totals.items()}


def _watchers(
    network: Network, where: Callable[[Chain], int | None], take: Callable[[int, Tensor], None]
) -> tuple[dict[int, Callable[[Tensor, Tensor], None]], dict[int, tuple[str, int]]]:
    """Watchers of the node that `where` picks of each layer's chain, and whose channels it has on which axis."""
    watchers: dict[int, Callable[[Tensor, Tensor], None]] = {}
    chains: dict[int, tuple[str, int]] = {}
    for layer in _uses(network):
        index = where(chain_after(network, layer))
        if index is not None:
            chains[index] = (layer.name, channel_axis(layer))
            watchers[index] = partial(_take_result, take, index)
    return watchers, chains


def _uses(network: Network) -> list[WeightedLayer]:
    """Each use of each layer. A table that is read again as another kind of weight makes other channels then."""
    layers = network.weighted_layers()
    first = {layer.name: layer.op for layer in reversed(layers)}
    return [layer for layer in layers if layer.op == first[layer.name]]


def _take_result(take: Callable[[int, Tensor], None], index: int, given: Tensor, result: Tensor) -> None:
    take(index, result)


@contextmanager
def _evaluating(network: Network) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _by_output(network: Network, layer: WeightedLayer) -> Float64[Tensor, "out rest"]:
    dense = network.dense(layer.weight).double()
    if layer.op == "embedding":
        dense = dense.transpose(0, 1)
    elif layer.op == "conv_transpose2d":
        groups = network.graph.nodes[layer.index].get("groups")
        dense = dense.reshape(groups, -1, *dense.shape[1:]).transpose(1, 2).flatten(0, 1)
    return dense.flatten(1)
