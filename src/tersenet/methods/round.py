"""Half the bytes for what is not a layer's weight, and so is neither pruned nor shared."""

from __future__ import annotations

import torch

from tersenet.errors import TersenetError
from tersenet.graph import Network

LARGEST = torch.finfo(torch.float16).max


def round_others(network: Network) -> None:
    """Round float32 biases, normalisation parameters and running statistics to the nearest float16.

    A value beyond float16's range is refused; one that would vanish below it (a tiny variance) keeps its tensor as
    it is, since a variance of zero divides.
    """
    weights = {layer.weight for layer in network.weighted_layers()}
    for name, dtype in network.graph.parameters.items():
        if name in weights or dtype != "float32" or network.form(name) is not None:
            continue
        exact = network.dense(name)
        if exact.numel() and float(exact.abs().max()) > LARGEST:
            raise TersenetError(
                f"tensor '{name}' holds {float(exact.abs().max()):g}, above float16's largest number {LARGEST:g}; "
                "leave the step round out of the recipe"
            )
        rounded = exact.to(torch.float16).to(torch.float32)
        if bool(((rounded == 0) == (exact == 0)).all()):
            network.set_tensor(name, rounded)
