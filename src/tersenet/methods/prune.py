"""Magnitude pruning: small weights go, the rest keep their values and their places, after Han et al. 2015."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms import Dense, Masked, Sparse
from tersenet.graph import Network
from tersenet.methods.patterns import Neighbours, Pattern, joint_mask, no_nan, pattern_mask
from tersenet.methods.select import replace_form, setting

Masks = dict[str, Tensor]
ROWS_READ_INPUTS = ("linear", "conv1d", "conv2d")


def keep_largest(weight: Tensor, keep: float) -> Tensor:
    """`weight` with all but the share `keep` of it with the largest magnitude set to zero; ties keep the first.

    At least one weight stays. Raises TersenetError for a share outside (0, 1].
    """
    return torch.where(pattern_mask(weight.abs(), keep=keep), weight, 0.0)


def global_keep(weights: Mapping[str, Tensor], keep: float) -> dict[str, Tensor]:
    """`keep_largest` with one threshold for all weights together, such that the share `keep` of them stays."""
    masks = joint_mask({name: weight.abs() for name, weight in weights.items()}, keep)
    return {name: torch.where(mask, weights[name], 0.0) for name, mask in masks.items()}


def quality_threshold(weight: Tensor, quality: float) -> float:
    """quality x standard deviation, at or below which a weight goes (Han et al. 2015, section 3).

    The deviation is that of the weights that are not zero yet, so that pruning again goes further.
    """
    if not quality >= 0:
        raise TersenetError(f"a quality parameter of {quality}; expected 0 or more")
    alive = weight[weight != 0]
    return quality * float(alive.std(correction=0)) if alive.numel() else 0.0


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which weights stay: one of the first three, for all layers or by pattern of their names, or a pattern n:m.

    keep        the fraction with the largest scores
    quality     scores above quality x the standard deviation of the layer's weights
    threshold   scores above it; above 0, the zeros that are there stay zero
    pattern     what stays or goes together: n of m neighbours, or blocks
    together    one threshold for all layers, such that `keep` of all their weights stay
    """

    keep: float | Mapping[str, float] | None = None
    quality: float | Mapping[str, float] | None = None
    threshold: float | Mapping[str, float] | None = None
    pattern: Pattern | None = None
    together: bool = False

    def __post_init__(self) -> None:
        given = [name for name in ("keep", "quality", "threshold") if getattr(self, name) is not None]
        if isinstance(self.pattern, Neighbours):
            if given or self.together:
                what = given[0] if given else "the threshold for all layers"
                raise TersenetError(f"the pattern {self.pattern} says how many weights of each row stay; drop {what}")
        elif len(given) != 1:
            raise TersenetError(
                "give either keep (a fraction), quality (times the standard deviation) or threshold (of |w|); "
                f"{' and '.join(given) or 'none'} came"
            )
        elif self.pattern is not None and self.keep is None:
            raise TersenetError(f"blocks of {self.pattern} need keep, the fraction of them that stays; drop {given[0]}")
        elif self.together and (self.keep is None or isinstance(self.keep, Mapping)):
            raise TersenetError("one threshold for all layers takes one keep-fraction for all of them together")

    def masks(self, network: Network, scores: Masks, now: Callable[[float], float] = float) -> Masks:
        """True for the weights that stay, by name, from a score for each of them.

        now   the fraction that stays by now, from the one that stays in the end
        """
        layers = {layer.weight: layer for layer in reversed(network.weighted_layers()) if layer.weight in scores}
        if isinstance(self.pattern, Neighbours):
            for layer in layers.values():
                if layer.op not in ROWS_READ_INPUTS:
                    raise TersenetError(
                        f"the pattern {self.pattern} is for rows that read the inputs, and '{layer.name}' is "
                        f"{layer.op}; leave it out, or prune it in blocks"
                    )
            return {name: pattern_mask(one, self.pattern) for name, one in scores.items()}
        if self.together:
            assert self.keep is not None and not isinstance(self.keep, Mapping)
            return joint_mask(scores, now(self.keep), self.pattern)
        masks = {}
        for name, one in scores.items():
            if self.keep is not None:
                masks[name] = pattern_mask(one, self.pattern, now(setting(self.keep, layers[name], network, "keep")))
            elif self.quality is not None:
                quality = setting(self.quality, layers[name], network, "quality")
                masks[name] = no_nan(one) > quality_threshold(_weights(network, name), quality)
            else:
                assert self.threshold is not None
                threshold = setting(self.threshold, layers[name], network, "threshold")
                if not threshold >= 0:
                    raise TersenetError(f"a threshold of {threshold} for '{name}'; expected 0 or more")
                masks[name] = no_nan(one) > threshold
        return masks


def _weights(network: Network, name: str) -> Tensor:
    """The weights, those included that a mask leaves out for a while."""
    form = network.form(name)
    return form.values.detach() if isinstance(form, Masked) else network.dense(name)


def attach_pruned(network: Network, name: str, pruned: Tensor) -> None:
    """Hold weight `name` as its non-zeros, which train on; the zeros stay. Refused if nothing is left."""
    left = int(torch.count_nonzero(pruned))
    if left == 0:
        raise TersenetError(f"pruning leaves nothing of '{name}'; keep more of it or exclude it")
    replace_form(network, name, Sparse.fit(pruned, values=Dense.fit))


def pruned_as_dense(network: Network) -> tuple[Network, list[str]]:
    """A copy in which pruned weights are dense, and their names; weights in other forms stay in them."""
    working = network.clone()
    pruned = [
        name for name, form in working.forms().items() if isinstance(form, Sparse) and isinstance(form.values, Dense)
    ]
    for name in pruned:
        working.detach(name)
    return working, pruned


def with_pruned_dense(network: Network, change: Callable[[Network], Network]) -> Network:
    """What `change` makes of `pruned_as_dense`, in which what was pruned is held as its non-zeros again."""
    working, pruned = pruned_as_dense(network)
    changed = change(working)
    for name in pruned:
        if name in changed.graph.parameters:
            attach_pruned(changed, name, changed.dense(name))
    return changed
