"""Which weights stay, given what the loss of each would cost."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.methods.prune import attach_pruned

Saliency = dict[str, Float[Tensor, "..."]]
Kept = dict[str, Bool[Tensor, "..."]]


def keep_salient(saliency: Mapping[str, Tensor], keep: float | Mapping[str, float]) -> Kept:
    """The weights with the largest saliency: a share of all together, or of each by its name; ties keep the first.

    At least one stays. Raises TersenetError for a share outside (0, 1].
    """
    if not isinstance(keep, Mapping):
        joined = torch.cat([one.reshape(-1) for one in saliency.values()])
        parts = torch.split(_largest(joined, keep), [one.numel() for one in saliency.values()])
        return {name: part.reshape(saliency[name].shape) for name, part in zip(saliency, parts)}
    return {name: _largest(one.reshape(-1), keep[name]).reshape(one.shape) for name, one in saliency.items()}


def _largest(saliency: Tensor, keep: float) -> Tensor:
    if not 0 < keep <= 1:
        raise TersenetError(f"a keep-fraction of {keep}; expected more than 0 and at most 1")
    kept = torch.zeros(saliency.shape, dtype=torch.bool)
    kept[torch.sort(saliency, descending=True, stable=True).indices[: max(round(keep * len(saliency)), 1)]] = True
    return kept


def attach_kept(network: Network, kept: Mapping[str, Tensor]) -> None:
    """Hold each weight as what is kept of it; the first that would lose everything is refused, before any changes."""
    pruned = {name: torch.where(mask, network.dense(name), 0.0) for name, mask in kept.items()}
    for name, weight in pruned.items():
        if not weight.any():
            attach_pruned(network, name, weight)
    for name, weight in pruned.items():
        attach_pruned(network, name, weight)
