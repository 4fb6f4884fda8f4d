"""Half the bytes for what is not a layer's weight, and so is neither pruned nor shared."""

from __future__ import annotations

import torch

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.ir import Parameter

LARGEST = torch.finfo(torch.float16).max
# A variance below float16's smallest number (6e-8) becomes zero; BatchNorm adds eps to it, which must outweigh that.
SAFE_EPS = 1e-6


def round_others(network: Network) -> None:
    """Round float32 biases, normalisation parameters and running statistics to the nearest float16.

    A value beyond float16's range is refused. Running variances stay exact where BatchNorm's eps is below SAFE_EPS.
    """
    weights = {layer.weight for layer in network.weighted_layers()}
    for name, dtype in network.graph.parameters.items():
        if name in weights | _bare_variances(network) or dtype != "float32" or network.form(name) is not None:
            continue
        exact = network.dense(name)
        if exact.numel() and float(exact.abs().max()) > LARGEST:
            raise TersenetError(
                f"tensor '{name}' holds {float(exact.abs().max()):g}, above float16's largest number {LARGEST:g}; "
                "leave the step round out of the recipe"
            )
        network.set_tensor(name, exact.to(torch.float16).to(torch.float32))


def _bare_variances(network: Network) -> set[str]:
    """Running variances that nothing is added to before the division."""
    nodes = [node for node in network.graph.nodes if node.op == "batch_norm" and node.get("eps") < SAFE_EPS]
    return {given.name for node in nodes if isinstance(given := node.get("running_var"), Parameter)}
