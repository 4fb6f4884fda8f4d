"""Magnitude pruning: small weights go, the rest keep their values and their places, after Han et al. 2015."""

from __future__ import annotations

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms import Dense, Sparse
from tersenet.graph import Network
from tersenet.methods.select import replace_form


def keep_largest(weight: Tensor, keep: float) -> Tensor:
    """`weight` with all but the share `keep` of it with the largest magnitude set to zero; ties keep the first.

    At least one weight stays. Raises TersenetError for a share outside (0, 1].
    """
    if not 0 < keep <= 1:
        raise TersenetError(f"a keep-fraction of {keep}; expected more than 0 and at most 1")
    flat = weight.reshape(-1)
    count = max(round(keep * flat.numel()), 1)
    order = torch.sort(flat.abs(), descending=True, stable=True).indices
    pruned = torch.zeros_like(flat)
    pruned[order[:count]] = flat[order[:count]]
    return pruned.reshape(weight.shape)


def above_threshold(weight: Tensor, quality: float) -> Tensor:
    """`weight` with |w| <= quality x standard deviation set to zero (Han et al. 2015, section 3).

    The deviation is that of the weights that are not zero yet, so that pruning again goes further.
    """
    if quality < 0:
        raise TersenetError(f"a quality parameter of {quality}; expected 0 or more")
    alive = weight[weight != 0]
    threshold = quality * float(alive.std(correction=0)) if alive.numel() else 0.0
    return torch.where(weight.abs() > threshold, weight, torch.zeros_like(weight))


def global_keep(weights: dict[str, Tensor], keep: float) -> dict[str, Tensor]:
    """One threshold for all weights together, such that the share `keep` of them stays."""
    if not 0 < keep <= 1:
        raise TersenetError(f"a keep-fraction of {keep}; expected more than 0 and at most 1")
    joined = keep_largest(torch.cat([weight.reshape(-1) for weight in weights.values()]), keep)
    parts = torch.split(joined, [weight.numel() for weight in weights.values()])
    return {name: part.reshape(weights[name].shape) for name, part in zip(weights, parts)}


def attach_pruned(network: Network, name: str, pruned: Tensor) -> None:
    """Hold weight `name` as its non-zeros, which train on; the zeros stay. Refused if nothing is left."""
    left = int(torch.count_nonzero(pruned))
    if left == 0:
        raise TersenetError(f"pruning leaves nothing of '{name}'; keep more of it or exclude it")
    replace_form(network, name, Sparse.fit(pruned, values=Dense.fit))
