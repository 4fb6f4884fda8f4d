"""Channels really leave: a smaller network, with everything that is coupled to them.

The result computes what the old network computes where the removed channels are zero after their whole chain
of BatchNorm and activation; `coupled_groups` tells beforehand which layers lose channels together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph.coupling import Coupling
from tersenet.graph.coupling_rules import pads_of
from tersenet.graph.network import Network
from tersenet.graph.rebuild import rebuilt
from tersenet.ir import Node, make_node


@dataclass(frozen=True)
class Group:
    """Layers whose output channels leave together.

    layers   in forward order
    units    layer -> for each output channel, the number of its unit in this group
    size     how many units there are
    fixed    unit -> why it cannot be removed
    """

    layers: tuple[str, ...]
    units: dict[str, np.ndarray]
    size: int
    fixed: dict[int, str]

    def masks(self, keep: Bool[Tensor, " size"]) -> dict[str, Bool[Tensor, " out"]]:
        """What to keep of each layer, for `remove_channels`, from what to keep of the units."""
        return {layer: keep[torch.from_numpy(units).to(keep.device)] for layer, units in self.units.items()}


def coupled_groups(network: Network) -> list[Group]:
    """All weighted layers in groups, most of them alone; a residual stream is one group."""
    coupling = Coupling(network)
    roots = {layer: coupling.roots(units) for layer, units in coupling.layers.items()}
    groups: list[tuple[set[int], list[str]]] = []
    for layer, units in roots.items():
        mine = set(units.tolist())
        touching = [group for group in groups if group[0] & mine]
        merged = (
            mine.union(*(group[0] for group in touching)),
            [one for group in touching for one in group[1]] + [layer],
        )
        groups = [group for group in groups if group not in touching] + [merged]
    found = []
    order = list(roots)
    for units_of_group, layers in groups:
        numbers = {unit: number for number, unit in enumerate(sorted(units_of_group))}
        layers = sorted(layers, key=order.index)
        found.append(
            Group(
                layers=tuple(layers),
                units={layer: np.array([numbers[unit] for unit in roots[layer].tolist()]) for layer in layers},
                size=len(numbers),
                fixed={numbers[unit]: coupling.pins[unit] for unit in units_of_group if unit in coupling.pins},
            )
        )
    return sorted(found, key=lambda group: order.index(group.layers[0]))


def remove_rows(network: Network, layer_name: str, keep: Shaped[Tensor, " out"]) -> Network:
    """`remove_channels` for one layer; layers coupled to it follow."""
    return remove_channels(network, {layer_name: keep})


def remove_channels(network: Network, keep: Mapping[str, Shaped[Tensor, " out"]]) -> Network:
    """A smaller network without the output channels that are False in `keep` of each named layer.

    Coupled layers that are not named lose the same channels; those that are named must say the same.
    """
    coupling = Coupling(network)
    removed: set[int] = set()
    for name, mask in keep.items():
        removed |= _removed(coupling, name, mask)
    for name, mask in keep.items():
        stay = coupling.roots(coupling.layers[name])[_numpy(mask)]
        clash = removed & set(stay.tolist())
        if clash:
            raise TersenetError(
                f"the masks disagree: {len(clash)} channels of '{name}' stay, but leave with a layer that is "
                "coupled to it; give coupled layers the same mask (see coupled_groups)"
            )
    return without_units(coupling, removed)


def _numpy(mask: Tensor) -> np.ndarray:
    return mask.detach().cpu().numpy()


def _removed(coupling: Coupling, name: str, mask: Tensor) -> set[int]:
    units = coupling.layers.get(name)
    if units is None:
        raise TersenetError(f"the network has no weighted layer '{name}'; it has {', '.join(coupling.layers)}")
    if mask.dtype != torch.bool or tuple(mask.shape) != (len(units),):
        raise TersenetError(
            f"the mask of '{name}' is {mask.dtype} of shape {tuple(mask.shape)}; expected one truth value "
            f"for each of its {len(units)} output channels"
        )
    removed = set(coupling.roots(units)[~_numpy(mask)].tolist())
    for unit in sorted(removed):
        why = coupling.why_pinned(unit)
        if why is not None:
            raise TersenetError(f"'{name}' cannot lose a channel: {why}")
    return removed


def without_units(coupling: Coupling, removed: set[int]) -> Network:
    """The network without these units (each the root of itself, none pinned)."""
    network = coupling.network
    if not removed:
        return network.clone()
    changed: dict[str, Tensor] = {}
    for (name, axis), units in coupling.tensors.items():
        stays = _stays(coupling, units, removed)
        if stays.size and not stays.any():
            raise TersenetError(f"no channel of '{name}' would be left on axis {axis}; keep at least one")
        if not stays.all():
            tensor = changed.get(name, network.dense(name))
            changed[name] = tensor.index_select(axis, torch.from_numpy(np.flatnonzero(stays)).to(tensor.device))
    nodes = tuple(_rewritten(coupling, index, node, removed) for index, node in enumerate(network.graph.nodes))
    return rebuilt(network, replace(network.graph, nodes=nodes), changed)


def _stays(coupling: Coupling, units: np.ndarray, removed: set[int]) -> np.ndarray:
    return ~np.isin(coupling.roots(units), list(removed))


def _rewritten(coupling: Coupling, index: int, node: Node, removed: set[int]) -> Node:
    """Numbers in a node that count channels."""
    made = coupling.tracks[coupling.network.graph.first_value(index)]
    if made is not None and not _stays(coupling, made.units, removed).any():
        raise TersenetError(f"no channel would be left of what node {index} ({node.op}) makes; keep at least one")
    source = next((one for one in node.tensors() if coupling.track(one) is not None), None)
    track = coupling.track(source)
    count = COUNTS.get(node.op)
    if count is None or track is None or source is None:
        return node
    before, after = _stays(coupling, track.units, removed), None
    if made is not None:
        after = made.axis, _stays(coupling, made.units, removed)
    changes = count(node, track.axis, before, after, coupling.shape(source))
    return make_node(node.op, **{**node.arguments, **changes}) if changes else node


# What a node says about channels, from which stay: on the given axis of what it reads, whose shape comes last, and
# on an axis of what it makes.
Count = Callable[[Node, int, np.ndarray, tuple[int, np.ndarray] | None, tuple[int, ...]], dict[str, Any]]


def _groups(node: Node, axis: int, before: np.ndarray, after: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Groups of one channel leave with it; larger ones shrink instead."""
    return {"groups": int(before.sum())} if node.get("groups") == len(before) else {}


def _norm_groups(node: Node, axis: int, before: np.ndarray, after: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"num_groups": int(before.sum()) * node.arguments["num_groups"] // len(before)}


def _ends(node: Node, axis: int, before: np.ndarray, after: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    if node.get("dim") % len(shape) != axis:
        return {}
    start, end, _ = slice(node.get("start"), node.get("end")).indices(len(before))
    return {
        "start": int(before[:start].sum()) if node.get("start") is not None else None,
        "end": int(before[:end].sum()) if node.get("end") is not None else None,
    }


def _index(node: Node, axis: int, before: np.ndarray, after: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    if node.arguments["dim"] % len(shape) != axis:
        return {}
    return {"index": int(before[: node.arguments["index"] % len(before)].sum())}


def _pads(node: Node, axis: int, before: np.ndarray, after: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    left, right = pads_of(node, axis, len(shape))
    if left == right == 0 or after is None:
        return {}
    stays, pad, place = after[1], list(node.arguments["pad"]), 2 * (len(shape) - 1 - axis)
    pad[place], pad[place + 1] = int(stays[:left].sum()), int(stays[len(stays) - right :].sum())
    return {"pad": pad}


def _shape(node: Node, axis: int, before: np.ndarray, after: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    if after is None:
        return {}
    place, stays = after
    sizes = list(node.arguments["shape"])
    if sizes[place] > 0:
        sizes[place] = int(stays.sum())
    return {"shape": sizes}


COUNTS: dict[str, Count] = {
    "conv1d": _groups,
    "conv2d": _groups,
    "conv_transpose2d": _groups,
    "group_norm": _norm_groups,
    "slice": _ends,
    "select": _index,
    "pad": _pads,
    "reshape": _shape,
}
