"""Inputs made from a network alone, for calibration where there is no data.

READ FIRST
  1. BatchNorm keeps the mean and the variance of what it met in training. Inputs are sought that give each BatchNorm the
     same statistics: Cai et al. 2020, ZeroQ, arXiv:2001.00281, section 3.1; Haroush et al. 2020, arXiv:1912.01274.
  2. They begin as Gaussian noise and follow the gradient; the network itself does not change.
  3. A batch is matched as a whole, so it should have many examples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.ir import Parameter

STEPS = 60
RATE = 0.1


def synthetic_batches(
    network: Network, examples: int, batch_size: int, seed: int, *, steps: int = STEPS, rate: float = RATE
) -> list[tuple[Tensor, ...]]:
    """Batches (x,) of `examples` inputs in all, float32, whose statistics at each BatchNorm are the running ones.

    steps   of Adam (Kingma and Ba 2015) for each batch, at `rate`, which falls to 0 in a line

    Refuses a network without BatchNorm, one of several inputs, and inputs that are not float32.
    """
    kept = _statistics(network)
    if not kept:
        raise TersenetError(
            "synthetic inputs are made to match the statistics that BatchNorm keeps, and this network has no such "
            "BatchNorm; give data, or use weights-only"
        )
    if len(network.graph.inputs) != 1 or network.graph.inputs[0].dtype != "float32":
        found = ", ".join(f"{one.name} of {one.dtype}" for one in network.graph.inputs)
        raise TersenetError(f"synthetic inputs are made for networks of one float32 input; this one has {found}")
    generator = torch.Generator().manual_seed(seed)
    shape = network.graph.inputs[0].shape
    modes = {module: module.training for module in network.modules()}
    network.eval()
    made: list[tuple[Tensor, ...]] = []
    try:
        with network.frozen_weights(), torch.enable_grad():
            for start in range(0, examples, batch_size):
                noise = torch.randn(min(batch_size, examples - start), *shape, generator=generator)
                made.append((_matched(network, noise, kept, steps, rate),))
    finally:
        for module, training in modes.items():
            module.training = training
    return made


def _statistics(network: Network) -> dict[int, tuple[Tensor, Tensor]]:
    """By the position of each BatchNorm: mean and standard deviation of its channels in training."""
    found = {}
    for position, node in enumerate(network.graph.nodes):
        mean, variance = (
            node.get(name) if node.op == "batch_norm" else None for name in ("running_mean", "running_var")
        )
        if isinstance(mean, Parameter) and isinstance(variance, Parameter):
            deviation = (network.dense(variance.name).detach() + node.get("eps")).sqrt()
            found[position] = network.dense(mean.name).detach(), deviation
    return found


def _matched(
    network: Network, inputs: Float[Tensor, "n ..."], kept: dict[int, tuple[Tensor, Tensor]], steps: int, rate: float
) -> Float[Tensor, "n ..."]:
    inputs = inputs.requires_grad_(True)
    optimiser = torch.optim.Adam([inputs], lr=rate)
    losses: list[Tensor] = []

    def watcher(mean: Tensor, deviation: Tensor) -> Callable[[Tensor, Tensor], None]:
        def watch(given: Tensor, result: Tensor) -> None:
            values = given.movedim(1, 0).flatten(1)
            off = (values.mean(1) - mean) / deviation
            wide = values.std(1, correction=0) / deviation - 1
            losses.append(off.square().mean() + wide.square().mean())

        return watch

    watchers = {position: watcher(*pair) for position, pair in kept.items()}
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        losses.clear()
        network.watch((inputs,), watchers)
        (inputs.grad,) = torch.autograd.grad(torch.stack(losses).sum(), [inputs])
        optimiser.step()
    return inputs.detach()
