"""What long work depends on, as a digest: so that another network's or data's results are not mixed in."""

from __future__ import annotations

from typing import Any

import torch

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.ir import write as write_graph

# Enough to tell one data set of a length from another; a loader of the user's may draw at random, so only splits.
FINGERPRINT_EXAMPLES = 64


def add_network(digest: Any, network: Network) -> None:
    """Operations and the values of all tensors."""
    digest.update(write_graph(network.graph))
    for name in network.graph.parameters:
        digest.update(network.dense(name).detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())


def add_data(digest: Any, data: Any) -> None:
    """The length, and of a split the first examples."""
    digest.update(repr(_length(data)).encode())
    if hasattr(data, "batch") and len(data):
        for tensor in data.batch(torch.arange(min(FINGERPRINT_EXAMPLES, len(data)))):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())


def check_finite(network: Network) -> None:
    """Refuse a network with NaN or infinite values before any work is done."""
    for name in network.graph.parameters:
        tensor = network.dense(name)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise TersenetError(f"tensor '{name}' holds {bad} NaN or infinite values; repair the network first")


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None
