"""BatchNorm statistics estimated anew after the weights have changed.

A pruned or coarsely stored network gives its BatchNorm layers other inputs than their running averages say; a
few batches without labels repair that (Li et al. 2020, EagleEye, arXiv:2007.02491, section 3.3, "adaptive
BN").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tersenet.calibration.batches import checked_inputs
from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.ir import Parameter


def recalibrate_batchnorm(network: Network, batches: Iterable[Any]) -> int:
    """Set each running mean and variance to the average of those of the batches; returns the number of
    layers.

    Each batch counts by its size, and there is no momentum: the order of the batches does not matter. Layers
    see their inputs as in training, normalised by the batch; dropout stays off. Nothing is changed if a batch
    is refused.
    """
    nodes = {
        index: (node.get("running_mean").name, node.get("running_var").name)
        for index, node in enumerate(network.graph.nodes)
        if node.op == "batch_norm" and isinstance(node.get("running_mean"), Parameter)
    }
    if not nodes:
        return 0
    names = [name for pair in nodes.values() for name in pair]
    before = {name: network.dense(name).clone() for name in names}
    sums = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in before.items()}
    counts = dict.fromkeys(names, 0)
    watchers = {index: _watcher(pair, sums, counts) for index, pair in nodes.items()}
    modes = {module: module.training for module in network.modules()}
    network.eval()
    for name in names:
        network.layer(name.rpartition(".")[0]).training = True
    done = False
    try:
        with network.frozen_weights():
            for inputs in checked_inputs(network, batches):
                network.watch(inputs, watchers)
        done = True
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for name in names:
                value = sums[name] / counts[name] if done else before[name]
                network.dense(name).copy_(value)
    return len(nodes)


def _watcher(pair: tuple[str, str], sums: dict[str, Tensor], counts: dict[str, int]) -> Any:
    def watch(given: Tensor, result: Tensor) -> None:
        values = given.movedim(1, 0).flatten(1).double()
        size = values.shape[1]
        if size < 2:
            raise TersenetError(f"'{pair[0]}' sees one value per channel; its variance needs batches of at least 2")
        if not torch.isfinite(values).all():
            raise TersenetError(f"the input of the BatchNorm of '{pair[0]}' holds NaN or infinite values")
        # The unbiased variance, as PyTorch's running average has it.
        for name, value in zip(pair, (values.mean(1), values.var(1))):
            sums[name] += value * size
            counts[name] += size

    return watch
