"""Channels really leave: a smaller network, with everything that is coupled to them.

The result computes what the old network computes where the removed channels are zero after their whole chain
of BatchNorm and activation; `coupled_groups` tells beforehand which layers lose channels together.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from tersenet.ir import Node, Value, make_node


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
    kept = {place: ~np.isin(coupling.roots(units), list(removed)) for place, units in coupling.tensors.items()}
    for (name, axis), stays in kept.items():
        if stays.size and not stays.any():
            raise TersenetError(f"no channel of '{name}' would be left on axis {axis}; keep at least one")
    changed: dict[str, Tensor] = {}
    for (name, axis), stays in kept.items():
        if not stays.all():
            tensor = changed.get(name, network.dense(name))
            changed[name] = tensor.index_select(axis, torch.from_numpy(np.flatnonzero(stays)).to(tensor.device))
    nodes = tuple(_rewritten(coupling, node, removed) for node in network.graph.nodes)
    return rebuilt(network, replace(network.graph, nodes=nodes), changed)


def _rewritten(coupling: Coupling, node: Node, removed: set[int]) -> Node:
    """Numbers in a node that count channels."""
    source = next((one for one in node.tensors() if coupling.track(one) is not None), None)
    track = coupling.track(source) if source is not None else None
    if track is None or not isinstance(source, Value) or not removed:
        return node
    stays = ~np.isin(coupling.roots(track.units), list(removed))
    rank = len(coupling.shape(source))
    changes: dict[str, Any] = {}
    if node.op in ("conv1d", "conv2d") and node.get("groups") > 1 and not stays.all():
        changes["groups"] = int(stays.sum())
    elif node.op == "slice" and node.get("dim") % rank == track.axis:
        start, end, _ = slice(node.get("start"), node.get("end")).indices(len(stays))
        changes["start"] = int(stays[:start].sum()) if node.get("start") is not None else None
        changes["end"] = int(stays[:end].sum()) if node.get("end") is not None else None
    elif node.op == "pad":
        changes = _rewritten_pad(coupling, node, removed, track.axis, rank)
    elif node.op == "reshape":
        changes = _rewritten_reshape(coupling, node, removed)
    if not changes:
        return node
    return make_node(node.op, **{**node.arguments, **changes})


def _output_stays(coupling: Coupling, node: Node, removed: set[int]) -> tuple[int, np.ndarray] | None:
    """The axis of units of a node's output and which of its positions stay."""
    graph = coupling.network.graph
    position = next(index for index, one in enumerate(graph.nodes) if one is node)
    track = coupling.tracks[graph.first_value(position)]
    if track is None:
        return None
    return track.axis, ~np.isin(coupling.roots(track.units), list(removed))


def _rewritten_pad(coupling: Coupling, node: Node, removed: set[int], axis: int, rank: int) -> dict[str, Any]:
    left, right = pads_of(node, axis, rank)
    found = _output_stays(coupling, node, removed)
    if (left == right == 0) or found is None:
        return {}
    stays, pad, place = found[1], list(node.arguments["pad"]), 2 * (rank - 1 - axis)
    pad[place], pad[place + 1] = int(stays[:left].sum()), int(stays[len(stays) - right :].sum())
    return {"pad": pad}


def _rewritten_reshape(coupling: Coupling, node: Node, removed: set[int]) -> dict[str, Any]:
    found = _output_stays(coupling, node, removed)
    if found is None:
        return {}
    axis, stays = found
    shape = list(node.arguments["shape"])
    if shape[axis] > 0:
        shape[axis] = int(stays.sum())
    return {"shape": shape}
