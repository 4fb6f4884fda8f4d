"""Run data through a network and gather, for each weighted layer, what its weight meets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tersenet.calibration.batches import checked_inputs
from tersenet.calibration.statistics import Gathering, LayerStatistics
from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.ir import Node

# Values of unfolded patches held at once: 64 MiB of float32.
PATCH_VALUES = 2**24
Watcher = Callable[[Tensor, Tensor], None]


def collect(
    network: Network,
    batches: Iterable[Any],
    layers: Sequence[str] | None = None,
    *,
    second_moments: bool = True,
    limit_bytes: int = 4 * 2**30,
) -> dict[str, LayerStatistics]:
    """Statistics by layer name, in forward order, over all batches, in eval mode.

    A batch is a tensor or a tuple that starts with the inputs. Memory is that of one forward pass and of the
    sums, which are refused beyond `limit_bytes`: X^T X alone takes 8 bytes times features squared.
    Embeddings, whose inputs are not numbers but names, are left out; a weight used twice gathers both uses.
    """
    chosen = _chosen(network, layers)
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with network.frozen_weights():
            _check_memory(network, chosen, second_moments, limit_bytes)
            gathering = {layer.name: _empty(network, layer, second_moments) for layer in _first_uses(chosen)}
            watchers = {layer.index: _watcher(network, layer, gathering[layer.name]) for layer in chosen}
            for inputs in checked_inputs(network, batches):
                network.watch(inputs, watchers)
    finally:
        for module, training in modes.items():
            module.training = training
    return {name: one.done() for name, one in gathering.items()}


def _check_memory(network: Network, chosen: list[WeightedLayer], second_moments: bool, limit_bytes: int) -> None:
    needed = sum(_sums_bytes(network, layer, second_moments) for layer in _first_uses(chosen))
    if needed > limit_bytes:
        raise TersenetError(
            f"the sums of {len(chosen)} layers take {needed:,} bytes, the limit is {limit_bytes:,}; name "
            "fewer layers at a time, raise limit_bytes, or pass second_moments=False"
        )


def _chosen(network: Network, names: Sequence[str] | None) -> list[WeightedLayer]:
    known = [layer for layer in network.weighted_layers() if layer.op != "embedding"]
    if names is None:
        return known
    missing = sorted(set(names) - {layer.name for layer in known})
    if missing:
        there = ", ".join(dict.fromkeys(layer.name for layer in known))
        raise TersenetError(f"no layer {', '.join(missing)} to collect; there are {there}")
    return [layer for layer in known if layer.name in set(names)]


def _first_uses(layers: list[WeightedLayer]) -> list[WeightedLayer]:
    return list({layer.name: layer for layer in reversed(layers)}.values())[::-1]


def _groups(node: Node) -> int:
    return int(node.get("groups")) if node.op.startswith("conv") else 1


def _sizes(network: Network, layer: WeightedLayer) -> tuple[int, int, int]:
    """Groups, features in each, outputs."""
    shape, groups = network.dense(layer.weight).shape, _groups(network.graph.nodes[layer.index])
    if layer.op == "conv_transpose2d":
        return groups, shape[0] // groups, shape[1] * groups
    return groups, shape[1:].numel(), shape[0]


def _sums_bytes(network: Network, layer: WeightedLayer, second_moments: bool) -> int:
    groups, features, out = _sizes(network, layer)
    return groups * features * (8 + 8 + 4 + 4 + (8 * features if second_moments else 0)) + 16 * out


def _empty(network: Network, layer: WeightedLayer, second_moments: bool) -> Gathering:
    groups, features, out = _sizes(network, layer)
    device = network.dense(layer.weight).device
    return Gathering(layer.name, layer.op, groups, features, out, device, second_moments)


def _watcher(network: Network, layer: WeightedLayer, gathering: Gathering) -> Watcher:
    node = network.graph.nodes[layer.index]
    kernel = tuple(network.dense(layer.weight).shape[2:])

    def watch(given: Tensor, result: Tensor) -> None:
        if not torch.isfinite(given).all() or not torch.isfinite(result).all():
            raise TersenetError(
                f"layer '{layer.name}' meets or gives NaN or infinite values; look at its weight and data"
            )
        step = max(1, PATCH_VALUES // max(1, _patch_values(node, kernel, given, result)))
        for part in torch.split(given, step):
            gathering.add_rows(rows_of(node, kernel, part))
        gathering.add_outputs(_by_channel(node, result))

    return watch


def _patch_values(node: Node, kernel: tuple[int, ...], given: Tensor, result: Tensor) -> int:
    """Unfolded values of one example."""
    if node.op in ("conv1d", "conv2d"):
        return given.shape[1] * torch.Size(kernel).numel() * result.shape[2:].numel()
    return given[0].numel()


def _by_channel(node: Node, result: Tensor) -> Float[Tensor, "rows out"]:
    return result.movedim(1, -1).flatten(0, -2) if node.op.startswith("conv") else result.reshape(-1, result.shape[-1])


def rows_of(node: Node, kernel: tuple[int, ...], given: Float[Tensor, "..."]) -> Float[Tensor, "groups rows features"]:
    """X: what the weight of `node` meets, so that rows times `weight.flatten(1)` transposed is the output."""
    if node.op == "linear":
        return given.reshape(1, -1, given.shape[-1])
    groups = _groups(node)
    if node.op == "conv_transpose2d":
        rows = given.movedim(1, -1).reshape(-1, groups, given.shape[1] // groups)
        return rows.movedim(1, 0)
    stride, padding, dilation = node.get("stride"), node.get("padding"), node.get("dilation")
    if node.op == "conv1d":
        given, kernel = given.unsqueeze(2), (1, *kernel)
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    patches = F.unfold(given, kernel, dilation=dilation, padding=padding, stride=stride)
    examples, features, positions = patches.shape
    patches = patches.reshape(examples, groups, features // groups, positions)
    return patches.permute(1, 0, 3, 2).reshape(groups, examples * positions, features // groups)
