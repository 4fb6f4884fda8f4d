"""Which weights stay, given what the loss of each would cost."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tersenet.graph import Network
from tersenet.methods.patterns import joint_mask, pattern_mask
from tersenet.methods.prune import attach_pruned

Saliency = dict[str, Float[Tensor, "..."]]
Kept = dict[str, Bool[Tensor, "..."]]


def keep_salient(saliency: Mapping[str, Tensor], keep: float | Mapping[str, float]) -> Kept:
    """The weights with the largest saliency: a share of all together, or of each by its name; ties keep the first.

    At least one stays. Raises TersenetError for a share outside (0, 1].
    """
    if isinstance(keep, Mapping):
        return {name: pattern_mask(one, keep=keep[name]) for name, one in saliency.items()}
    return joint_mask(saliency, keep)


def attach_kept(network: Network, kept: Mapping[str, Tensor]) -> None:
    """Hold each weight as what is kept of it; the first that would lose everything is refused, before any changes."""
    pruned = {name: torch.where(mask, network.dense(name), 0.0) for name, mask in kept.items()}
    for name, weight in pruned.items():
        if not weight.any():
            attach_pruned(network, name, weight)
    for name, weight in pruned.items():
        attach_pruned(network, name, weight)
