"""Filters and channels that matter least leave for good, each with everything that is coupled to it.

READ FIRST
  1. What leaves is a unit of a `Group`: a channel of one layer, or one of several coupled layers, scored together.
  2. One order over all units decides; a request is how many of the first ones of that order leave, found by counting
     or, for a share of the multiply-adds, by bisection on networks that are really built and counted.
  3. Limits act while the order is walked: a unit that would leave a layer with too few channels stays.

Coupled scores and their mean a group as unit: Fang et al. 2023, DepGraph, arXiv:2301.12900, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64, Integer
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Group, Network, coupled_groups, remove_channels
from tersenet.graph.coupling import Coupling
from tersenet.measure.operations import count_operations
from tersenet.methods.prune import pruned_as_dense, with_pruned_dense
from tersenet.methods.scores import Scores, unit_scores
from tersenet.methods.select import select_layers, setting

Scope = Literal["layer", "global"]


@dataclass(frozen=True)
class Candidate:
    """A group that may lose units.

    scores   of its units, larger stays
    free     which units can leave at all
    places   how many places each unit has on each axis that lies within the group: those of its layers' outputs first,
             in their order, then of what reads them; none may become empty
    """

    group: Group
    scores: Float64[Tensor, " size"]
    free: Bool[Tensor, " size"]
    places: Integer[np.ndarray, "axes size"]

    @property
    def name(self) -> str:
        first, more = self.group.layers[0], len(self.group.layers) - 1
        return first + (f" and {more} coupled" if more else "")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """at_least   channels that every layer keeps
    multiple   the units that a group keeps are a multiple of it, as far as it has so many
    """

    at_least: int = 1
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.at_least < 1 or self.multiple < 1:
            raise TersenetError(
                f"at_least is {self.at_least} and multiple is {self.multiple}; a layer keeps at least 1 channel, "
                "and every number is a multiple of 1"
            )


def candidates(
    network: Network, where: str, scores: Scores, coupled: Literal["mean", "sum"] = "mean"
) -> tuple[list[Candidate], list[str]]:
    """The groups with a layer that `where` names, a score, and units that can leave; and why others keep theirs.

    Refused where nothing is left, and where a score is NaN.
    """
    wanted = {layer.name for layer in select_layers(network, where)}
    found, notes = [], []
    coupling = Coupling(pruned_as_dense(network)[0])
    for group in coupled_groups(coupling.network):
        if not wanted & set(group.layers):
            continue
        free = torch.ones(group.size, dtype=torch.bool)
        free[list(group.fixed)] = False
        if not free.any():
            notes.append(f"{group.layers[0]} keeps its channels: {next(iter(group.fixed.values()))}")
            continue
        of_units = unit_scores(group, scores, coupled)
        if of_units is None:
            missing = next(layer for layer in group.layers if layer not in scores)
            notes.append(f"{group.layers[0]} keeps its channels: the score does not reach {missing}")
        elif not bool(torch.isfinite(of_units).all()):
            raise TersenetError(
                f"the scores of '{group.layers[0]}' hold NaN or infinite values; repair the network first"
            )
        else:
            found.append(Candidate(group, of_units, free, _places(coupling, group)))
    if not found:
        raise TersenetError(f"no channel that '{where}' names can leave. {'; '.join(notes[:4])}")
    return found, notes


def removal_order(found: Sequence[Candidate], scope: Scope, *, normalise: bool = True) -> list[tuple[int, int]]:
    """All free units as (candidate, unit), the one that matters least first.

    scope "layer" takes from every group in turn, so that any beginning of the order takes equal shares of all;
    "global" compares scores, divided by their group's mean where `normalise` is set.
    """
    keys, places = [], []
    for number, one in enumerate(found):
        units = torch.nonzero(one.free).reshape(-1)
        units = units[torch.sort(one.scores[units], stable=True).indices]
        if scope == "layer":
            key = (torch.arange(len(units), dtype=torch.float64) + 1) / one.group.size
        else:
            mean = float(one.scores.mean()) if normalise else 1.0
            key = one.scores[units] / (mean or 1.0)
        keys += key.tolist()
        places += [(number, unit) for unit in units.tolist()]
    return [places[index] for index in np.argsort(np.array(keys), kind="stable")]


def kept_units(
    found: Sequence[Candidate], order: Sequence[tuple[int, int]], count: int, limits: Limits
) -> list[Bool[Tensor, " size"]]:
    """What each candidate keeps where the first `count` units of the order leave, as far as the limits allow."""
    keeps = [torch.ones(one.group.size, dtype=torch.bool) for one in found]
    left = [one.places.sum(1) for one in found]
    least = [np.where(np.arange(len(one.places)) < len(one.group.layers), limits.at_least, 1) for one in found]
    gone: list[list[int]] = [[] for _ in found]
    for number, unit in order[:count]:
        lost = found[number].places[:, unit]
        if (left[number] - lost >= least[number])[lost > 0].all():
            left[number] -= lost
            gone[number].append(unit)
    for keep, units in zip(keeps, gone):
        staying = -(-(len(keep) - len(units)) // limits.multiple) * limits.multiple
        keep[units[: max(len(keep) - staying, 0)]] = False
    return keeps


def keep_shares(
    network: Network, found: Sequence[Candidate], where: str, keep: float | Mapping[str, float], limits: Limits
) -> list[Bool[Tensor, " size"]]:
    """What stays where each group keeps its own share of its units, to the nearest unit.

    keep   one share in (0, 1], or a table from pattern to share; of coupled layers that differ the largest counts
    """
    layers = {layer.name: layer for layer in select_layers(network, where)}
    keeps = []
    for one in found:
        share = max(setting(keep, layers[name], network, "keep") for name in one.group.layers if name in layers)
        _check_share(share)
        order = removal_order([one], "layer")
        keeps += kept_units([one], order, one.group.size - round(share * one.group.size), limits)
    return keeps


def keep_share_of_all(
    found: Sequence[Candidate], order: Sequence[tuple[int, int]], keep: float, limits: Limits
) -> list[Bool[Tensor, " size"]]:
    """What stays where the share `keep` of all units of all groups does, the order deciding where."""
    _check_share(keep)
    total = sum(one.group.size for one in found)
    return kept_units(found, order, total - round(keep * total), limits)


def keep_operations(
    network: Network,
    found: Sequence[Candidate],
    order: Sequence[tuple[int, int]],
    share: float,
    limits: Limits,
) -> list[Bool[Tensor, " size"]]:
    """What stays where at most `share` of the multiply-adds do, and with one unit of the order more it would be more.

    Refused where even the whole order leaves more.
    """
    _check_share(share)
    target = share * multiply_adds(network)

    def fits(count: int) -> bool:
        return multiply_adds(remove_units(network, found, kept_units(found, order, count, limits))) <= target

    low, high = 0, len(order)
    if not fits(high):
        least = multiply_adds(remove_units(network, found, kept_units(found, order, high, limits)))
        raise TersenetError(
            f"{share:g} of the multiply-adds should stay, but {least / multiply_adds(network):.3f} of them do even where "
            "every channel leaves that may; ask for more, or name more layers, or lower at_least"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return kept_units(found, order, low, limits)


def above_deviations(found: Sequence[Candidate], deviations: float, limits: Limits) -> list[Bool[Tensor, " size"]]:
    """What stays where units leave whose score lies more than this many standard deviations below their group's mean
    (Hu et al. 2016, section 3.2, with one deviation).
    """
    keeps = []
    for one in found:
        scores = one.scores[one.free]
        line = float(scores.mean()) - deviations * float(scores.std(correction=0))
        order = removal_order([one], "layer")
        keeps += kept_units([one], order, int((scores < line).sum()), limits)
    return keeps


def remove_units(network: Network, found: Sequence[Candidate], keeps: Sequence[Bool[Tensor, " size"]]) -> Network:
    """A network without the units that are False; pruned weights stay pruned."""
    masks: dict[str, Tensor] = {}
    for one, keep in zip(found, keeps):
        if not keep.all():
            masks |= one.group.masks(keep)
    return with_pruned_dense(network, lambda dense: remove_channels(dense, masks))


def multiply_adds(network: Network) -> int:
    """Of one example, counted by running the network; zeros in weights count too."""
    inputs = tuple(torch.zeros(1, *one.shape, dtype=getattr(torch, one.dtype)) for one in network.graph.inputs)
    return count_operations(Network(network.graph, network.tensors()), inputs=inputs).macs_dense


def removed(found: Sequence[Candidate], keeps: Sequence[Bool[Tensor, " size"]]) -> list[str]:
    """A sentence for each group that loses units."""
    return [
        f"{one.name}: {int((~keep).sum())} of {len(keep)} channels left the network"
        for one, keep in zip(found, keeps)
        if not keep.all()
    ]


def _places(coupling: Coupling, group: Group) -> Integer[np.ndarray, "axes size"]:
    numbers = {
        root: number
        for layer in group.layers
        for root, number in zip(coupling.roots(coupling.layers[layer]).tolist(), group.units[layer].tolist())
    }
    axes = [group.units[layer] for layer in group.layers]
    for units in (*coupling.tensors.values(), *(track.units for track in coupling.tracks if track is not None)):
        roots = coupling.roots(units).tolist()
        if roots and all(root in numbers for root in roots):
            axes.append(np.array([numbers[root] for root in roots]))
    counts = np.stack([np.bincount(axis, minlength=group.size) for axis in axes])
    layers = len(group.layers)
    return np.concatenate([counts[:layers], np.unique(counts[layers:], axis=0)])


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise TersenetError(f"a share of {share} is to stay; expected more than 0 and at most 1")
